"""Two independent detectors of MONAI's parts: a U-Net with connected components, and a RetinaNet.

A peer is a module with two methods. `loss` takes a batch of patches: images (b, 1, z, y, x) from 0, which is
air, to 1, and numbers (b, 1, z, y, x) of the lesion that holds a voxel, 0 for none. `find` takes a whole scan
(z, y, x) and where it lies, and returns points (n, 3) in LPS mm and probabilities (n,). Scans go through in
windows of the patches' shape, over which norms were taken in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.apps.detection.networks.retinanet_detector import RetinaNetDetector
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.apps.detection.utils.anchor_utils import AnchorGeneratorWithAnchorShape
from monai.inferers.utils import sliding_window_inference
from monai.losses.dice import DiceCELoss
from monai.networks.blocks.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
from monai.networks.nets.resnet import resnet10
from monai.networks.nets.unet import UNet
from scipy import ndimage

from model.geometry import Geometry

Shape = tuple[int, int, int]
Found = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]

LEAST_PROBABILITY = 0.1
"""Voxels from which components are made; low, so that the FROC curve has its range."""
PRIOR = 0.01
"""Probability of a voxel before training, as that of RetinaNet's boxes."""
ANCHORS_VOX = ((2, 4, 4), (4, 4, 4), (4, 6, 6))
"""(z, y, x) on the finest level, twice and four times as large on the others: at 3 mm from 6 to 72 mm, as
lesions are. Even, for MONAI rounds their halves."""
CHANNELS = 32
"""Of pyramid and heads, where the bundle has 256: more than our detector has at that resolution, and a CPU
makes twice as many steps as with 64."""


class Mixed(torch.nn.Module):
    """A network in bfloat16 where `half`; its output is float32, for anchors take the type of the maps."""

    def __init__(self, network: torch.nn.Module, half: bool) -> None:
        super().__init__()
        self.network, self.half_precision = network.to(memory_format=torch.channels_last_3d), half  # type: ignore[call-overload]

    def forward(self, images: torch.Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half_precision):
            out = self.network(images)
        if isinstance(out, torch.Tensor):
            return out.float()
        return {name: [level.float() for level in levels] for name, levels in out.items()}


class UNetPeer(torch.nn.Module):
    """MONAI's residual U-Net (Kerfoot et al. 2018) with Adam at 1e-3, as in its tutorials of 3D segmentation,
    and Dice with cross-entropy, as in nnU-Net (Isensee et al. 2021); Dice over the batch, for a patch may
    hold no lesion. Its channels end in a head of one voxel that begins at PRIOR: MONAI's own end is a norm of
    the one channel, whose mean is then slow to leave a probability of a half.
    """

    def __init__(self, shape: Shape, half: bool) -> None:
        super().__init__()
        self.shape = shape
        body = UNet(3, 1, 16, channels=(16, 32, 64, 128, 256), strides=(2, 2, 2, 2), num_res_units=2)
        head = torch.nn.Conv3d(16, 1, 1)
        torch.nn.init.constant_(head.bias, math.log(PRIOR / (1 - PRIOR)))  # type: ignore[arg-type]
        self.network = Mixed(torch.nn.Sequential(body, head), half)
        self.overlap = DiceCELoss(sigmoid=True, batch=True)

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)

    def loss(self, images: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.overlap(self.network(images), (numbers > 0).float())
        return loss

    def find(self, image: torch.Tensor, place: Geometry) -> Found:
        logits = sliding_window_inference(
            image[None, None], self.shape, 4, self.network, overlap=0.25, mode="gaussian"
        )
        assert isinstance(logits, torch.Tensor)
        return components(torch.sigmoid(logits[0, 0]).numpy(), place)


class Detector(RetinaNetDetector):
    """With ATSS alone: MONAI's own asks first whether its matcher is torchvision's, which is not there."""

    def compute_anchor_matched_idxs(
        self,
        anchors: list[torch.Tensor],
        targets: list[dict[str, torch.Tensor]],
        num_anchor_locs_per_level: Sequence[int],
    ) -> list[torch.Tensor]:
        rest = num_anchor_locs_per_level, self.num_anchors_per_loc
        pairs = zip(targets, anchors, strict=True)
        return [self.proposal_matcher(target["boxes"], own, *rest)[1] for target, own in pairs]


class RetinaNetPeer(torch.nn.Module):
    """MONAI's RetinaNet as its LUNA16 bundle has it: ATSS matching, hard negatives, cross-entropy and smooth
    L1, and its thresholds of scores and overlaps.

    Unlike the bundle: ResNet-10 in place of ResNet-50, fewer CHANNELS, and no max-pooling before the pyramid,
    whose levels have 2, 4 and 8 voxels to a cell. At 3 mm the finest is 6 mm, the bundle's 2.8 mm. Adam at
    1e-3, as for the U-Net: by SGD at 0.01, as in the bundle, it learnt the share of positives and no more.
    """

    def __init__(self, shape: Shape, half: bool) -> None:
        super().__init__()
        body = resnet10(
            spatial_dims=3, n_input_channels=1, conv1_t_size=7, conv1_t_stride=2, no_max_pool=True
        )
        network = RetinaNet(
            3,
            num_classes=1,
            num_anchors=len(ANCHORS_VOX),
            feature_extractor=Pyramid(body, (64, 128), CHANNELS),
        )
        anchors = AnchorGeneratorWithAnchorShape((1, 2, 4), ANCHORS_VOX)
        self.detector = Detector(
            Mixed(network, half), anchors, spatial_dims=3, num_classes=1, size_divisible=8
        )
        self.detector.set_atss_matcher(num_candidates=4, center_in_gt=False)
        self.detector.set_hard_negative_sampler(64, positive_fraction=0.3, min_neg=16, pool_size=20)
        self.detector.set_box_selector_parameters(0.02, 1000, nms_thresh=0.22, detections_per_img=300)
        # a quarter or more, and windows begin at whole cells of the coarsest level; MONAI rounds down
        overlap = tuple(1 - (max(8, n * 3 // 32 * 8) + 0.5) / n for n in shape)
        self.detector.set_sliding_window_inferer(shape, sw_batch_size=4, overlap=overlap)  # type: ignore[arg-type]

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), 1e-3)

    def loss(self, images: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        boxes = [torch.from_numpy(boxes_of(one[0].numpy())) for one in numbers]
        targets = [{"boxes": own, "labels": torch.zeros(len(own), dtype=torch.long)} for own in boxes]
        losses = self.detector(images, targets)
        return torch.stack(list(losses.values())).sum()

    def find(self, image: torch.Tensor, place: Geometry) -> Found:
        (found,) = self.detector(image[None, None], use_inferer=True)
        middles = middles_of(found["boxes"].double().numpy())
        return place.voxel_to_world(middles), found["labels_scores"].double().numpy()


Peer = UNetPeer | RetinaNetPeer


class Pyramid(torch.nn.Module):
    """The first two stages of a ResNet with MONAI's feature pyramid, as its `resnet_fpn_feature_extractor`.

    That function needs torchvision, which has no build beside this torch. widths: channels of the stages.
    """

    def __init__(self, body: Any, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        pool = [] if body.no_max_pool else [body.maxpool]
        self.out_channels = channels
        self.stem = torch.nn.Sequential(body.conv1, body.bn1, body.act, *pool)
        self.stages = torch.nn.ModuleList([body.layer1, body.layer2])
        self.fpn = FeaturePyramidNetwork(3, list(widths), channels, LastLevelMaxPool(3))

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.stem(x)
        features = {}
        for number, stage in enumerate(self.stages):
            x = stage(x)
            features[str(number)] = x
        pyramid: dict[str, torch.Tensor] = self.fpn(features)
        return pyramid


def components(probability: npt.NDArray[np.floating], place: Geometry) -> Found:
    """Of a map (z, y, x): the centroid of each component of voxels that touch, even by a corner, from
    LEAST_PROBABILITY on; its probability is that of its highest voxel.
    """
    labels, count = ndimage.label(probability >= LEAST_PROBABILITY, np.ones((3, 3, 3)))
    index = np.arange(1, count + 1)
    middles = np.array(ndimage.center_of_mass(labels > 0, labels, index), np.float64).reshape(-1, 3)
    highest = np.array(ndimage.maximum(probability, labels, index), np.float64).reshape(-1)
    return place.voxel_to_world(middles), highest


def boxes_of(numbers: npt.NDArray[np.integer] | npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Numbers of lesions (z, y, x) -> (n, 6) the edges of their boxes, lower then upper (z, y, x), a voxel i
    reaching from i to i + 1, which is MONAI's standard mode.
    """
    boxes = [box for box in ndimage.find_objects(numbers.astype(np.int32)) if box is not None]
    edges = [[*(part.start for part in box), *(part.stop for part in box)] for box in boxes]
    return np.array(edges, np.float32).reshape(-1, 6)


def middles_of(edges: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """(n, 6) edges of boxes -> (n, 3) voxel positions, where the centre of voxel i is at i."""
    return (edges[:, :3] + edges[:, 3:]) / 2 - 0.5
