"""Who decodes one map for all objects, and who one for each?

AOT has painted all objects into one map, so its decoder works once; but it has ten identities, and
with more objects than that each group of ten is followed by itself. SST decodes what each label
tells it, and background is a label, too. SITVOS and HST answer object by object, and background is
what is left over.
"""


def decoder_work(name: str, K: int) -> int:
    """On how many pictures the decoder of `name` works in one frame, when it follows K objects.

    `name` is "aot_mini", "sst_mini", "sitvos_mini" or "hst_mini"; K is 1 or more.
    """
    ### BEGIN SOLUTION
    if name == "aot_mini":
        identities = 10
        return -(-K // identities)  # rounded up
    return K + 1 if name == "sst_mini" else K
    ### END SOLUTION
