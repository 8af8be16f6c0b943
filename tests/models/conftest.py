# pytest puts the folder of a conftest on sys.path: the tests below can import seam_reference.
