"""Count frame by frame, then sum.

(a) Each of T frames once. (b) Each of the T - 1 kept frames once more for each object. (c) Frame t
has t frames behind it, all seen anew for each object: t from 0 to T - 1 sums up to T (T - 1) / 2.
So this one grows with the square of the length. HST pays it, with a bound on the frames.
"""


def backbone_runs(T: int, K: int) -> tuple[int, int, int]:
    """Runs of a backbone in a video of T frames with K objects, in the designs a, b and c."""
    ### BEGIN SOLUTION
    siamese = T
    once_kept = T + K * (T - 1)
    all_anew = T + K * (T * (T - 1) // 2)
    return siamese, once_kept, all_anew
    ### END SOLUTION
