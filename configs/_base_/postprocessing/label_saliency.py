# Saliency maps in place of a constant background: a pixel is background where (1 - saliency) x weight exceeds every
# map. The usual way to use them (InferCam, figure 6, top), beside which its saliency-conflict loss is to be compared.
background = dict(type='saliency', weight=0.5)
postprocessors = []
