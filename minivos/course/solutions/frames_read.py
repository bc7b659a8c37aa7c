"""Count what is kept before frame T; the previous frame counts only if it is not among it.

The last frame that can be kept is T - 1, so (T - 1) // n frames come after the first; at most m of
all of them stay. When n divides T - 1, the previous frame is kept itself. The memory stops growing
at m + 1 frames, which are first read in frame n (m - 1) + 2: then m are kept, the last of them is
frame n (m - 1), and the previous one is no longer that one.
"""


def frames_read(T: int, n: int, m: int) -> int:
    """How many frames are read in frame T, which has T frames (1 or more) before it.

    Kept are the first frame and every n-th, at most m (2 or more) of these; the previous frame is
    read besides. Each frame is read once.
    """
    ### BEGIN SOLUTION
    kept = min(1 + (T - 1) // n, m)
    previous_is_kept = (T - 1) % n == 0
    return kept if previous_is_kept else kept + 1
    ### END SOLUTION
