"""``mmwsss convert text-embeddings``."""
import argparse

DESCRIPTION = ('Write the embeddings of class names by the text encoder of a CLIP, which TextCAMHead reads: a '
               '.npy file of the classes in their order, then the background prompts. Needs pip install '
               '"mmwsss[transformers]"')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the command."""
    parser.add_argument('model', metavar='MODEL', help="local folder of a CLIP of Hugging Face, or its name on the "
                        "hub; the one that is the model's backbone")
    parser.add_argument('--out', metavar='FILE', required=True, help='.npy file to write')
    classes = parser.add_mutually_exclusive_group(required=True)
    classes.add_argument('--classes', nargs='+', metavar='NAME',
                         help='names of the classes in their order; synonyms separated by commas, e.g. sofa,couch')
    classes.add_argument('--data-root', metavar='DIR', help='data set whose classes.txt has the names')
    parser.add_argument('--background', nargs='*', metavar='NAME',
                        help='prompts for the background; none: no such prompt (default: ground, sky, wall, ...)')
    parser.add_argument('--templates', nargs='+', metavar='TEXT', help="sentences with {} where a name goes")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from mmwsss.converters.text_embeddings import BACKGROUND, TEMPLATES, make_text_embeddings
    from mmwsss.datasets.layout import load_classes
    from mmwsss.utils.errors import EXIT_DONE
    if args.data_root is not None:
        classes = [(name,) for name in load_classes(args.data_root)]
    else:
        classes = [tuple(name.split(',')) for name in args.classes]
    background = BACKGROUND if args.background is None else args.background
    count, channels = make_text_embeddings(args.model, classes, args.out, background, args.templates or TEMPLATES)
    print(f'{args.out}: {count} texts ({len(classes)} classes), {channels} numbers each')
    return EXIT_DONE
