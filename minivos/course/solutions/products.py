"""Queries times the cells that each of them meets, stage by stage.

Dense: from stage to stage there are four times the queries and four times the cells, so sixteen
times the products. Hierarchical: the queries grow as before, but each meets k times f * f cells,
however long the memory is. Only stage 4 pays for T. With k as large as the memory, both are equal.
"""


def products(H: int, W: int, T: int, k: int) -> tuple[int, int]:
    """How many products of a query's and a memory's key a read of all four stages takes.

    H x W cells at stage 4, twice as many along each side from stage to stage; T frames in memory;
    k <= T * H * W -> densely at all stages, and with the k best below stage 4.
    """
    ### BEGIN SOLUTION
    dense, hierarchical = 0, H * W * T * H * W
    for f in (1, 2, 4, 8):
        queries = H * f * W * f
        dense += queries * queries * T
        if f > 1:
            hierarchical += queries * k * f * f
    return dense, hierarchical
    ### END SOLUTION
