"""How close drawn texts are to those of people, as sets.

MAUVE (Pillutla et al. 2021, arXiv 2102.01454) of features that the scoring model makes
of each text. The authors' package asks for FAISS and GPT-2, and had its last release in
2024; k-means is scikit-learn's here.

P human texts, Q drawn texts, D width, K clusters, L mixtures.
"""

import numpy as np

SCALE = 5  # the paper's c
EXPLAINED = 0.9  # of the variance, by the principal components that are kept
MIXTURES = 1000
CLUSTERINGS = 5  # averaged, for one alone depends on where its centres began


def mauve(human_PD: np.ndarray, drawn_QD: np.ndarray) -> float:
    """1 where both are alike; near 0 where no cluster has texts of both.

    As many clusters as a tenth of the texts on the smaller side. Fewer than some
    hundred texts give a rough number.
    """
    clusters = max(2, round(min(len(human_PD), len(drawn_QD)) / 10))
    features_ND = np.concatenate([human_PD, drawn_QD])
    found = []
    for labels in quantize(features_ND, clusters):
        counts = [
            np.bincount(part, minlength=clusters)
            for part in np.split(labels, [len(human_PD)])
        ]
        found.append(area(*(count / count.sum() for count in counts)))
    return float(np.mean(found))


def quantize(features_ND: np.ndarray, clusters: int) -> list[np.ndarray]:
    """(N,) clusters, found several times, of unit vectors' principal components."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from threadpoolctl import threadpool_limits

    unit_ND = features_ND / np.linalg.norm(features_ND, axis=1, keepdims=True)
    unit_ND = unit_ND.astype(np.float64)
    # Sums in one order, so that equal features give equal clusters.
    with threadpool_limits(1):
        small_NS = PCA(EXPLAINED, svd_solver="full").fit_transform(unit_ND)
        return [
            KMeans(clusters, n_init=5, random_state=seed).fit_predict(small_NS)
            for seed in range(CLUSTERINGS)
        ]


def area(p_K: np.ndarray, q_K: np.ndarray) -> float:
    """Under the paper's divergence curve of two distributions (sec. 2).

    Its points are exp(-c KL(q, r)) and exp(-c KL(p, r)) for all r between p and q.
    """
    share_L1 = np.linspace(0, 1, MIXTURES + 2)[1:-1, None]
    mixed_LK = share_L1 * p_K[None] + (1 - share_L1) * q_K[None]
    x_L, y_L = (np.exp(-SCALE * _divergence(each, mixed_LK)) for each in (q_K, p_K))
    # From the side where the mixture is q, and x is 1, to that where y is.
    x_L, y_L = np.r_[1, x_L, 0], np.r_[0, y_L, 1]
    return float(np.trapezoid(y_L[::-1], x_L[::-1]))


def _divergence(p_K: np.ndarray, mixed_LK: np.ndarray) -> np.ndarray:
    """(L,) KL(p, mixed), in nats; the mixture has whatever p has."""
    some = p_K > 0
    return (p_K[some] * np.log(p_K[some][None] / mixed_LK[:, some])).sum(1)
