"""Light multiplies: it makes every number of a frame smaller by the same share.

So one number takes it out again, as long as it is measured in the frame itself and shrinks with the
light as the colours do: the mean. It is one number per frame, not one per pixel: each colour keeps
its distance to the others, in proportion, and the sharpness of the look-up still fits. Divided by
its own sum, each pixel would be light-proof, too; but then grey and blue come closer together, and
need a larger scale. The frame that is all black has a mean of 0, by which nothing can be divided.
"""

from torch import Tensor


def light_proof(frame: Tensor) -> Tensor:
    """Frames (B, 3, H, W) in [0, 1] -> colours (B, 3, H, W) that do not depend on the light.

    Each frame has a light of its own.
    """
    ### BEGIN SOLUTION
    light = frame.mean(dim=(1, 2, 3), keepdim=True)
    return frame / light.clamp(min=1e-3)
    ### END SOLUTION
