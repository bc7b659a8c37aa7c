"""Along t and along one plane: two layers compose.

A cell looks at its own row and column in its own frame, and at nothing of the others but a whole
row of each: every cell is then reached by a step within the plane and a step between frames. Others
work, too: columns instead of rows, or a few cells that look at everything in turn for all.
"""


def my_cells(t: int, y: int, x: int) -> set[tuple[int, int, int]]:
    """The cells that a cell looks at in a video of 4 x 8 x 8: itself and at most 39 others.

    Two layers of this pattern have to reach everything from everywhere.
    """
    ### BEGIN SOLUTION
    rows = {(frame, y, column) for frame in range(4) for column in range(8)}
    here = {(t, row, x) for row in range(8)}
    return rows | here
    ### END SOLUTION
