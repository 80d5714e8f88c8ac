"""Networks written in many ways, small enough to differ in everything but speed.

Sizes coincide on purpose (tokens, heads, channels), so that whoever matches by size goes wrong.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Net(nn.Module):
    """Parts by name, and a function for the forward pass."""

    def __init__(self, forward: Callable[..., Tensor], **parts: nn.Module | nn.Parameter) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = forward

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.function(self, *inputs)


def weight(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape) / math.sqrt(shape[-1]))


def images(channels: int = 3, size: int = 8) -> Tensor:
    return torch.randn(2, channels, size, size)


def tokens(length: int = 6, kinds: int = 11) -> Tensor:
    return torch.randint(0, kinds, (2, length))


def mlp():
    return nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)), torch.randn(6, 6)


def functional_mlp():
    """Weights in a dict, products by einsum, @ and F.linear, activations in place."""

    def forward(self, x):
        x = torch.einsum("bi,hi->bh", x, self.w["a"]).add_(self.w["b"]).relu_()
        x = torch.sin(x @ self.w["c"])
        return F.linear(x, self.w["d"])

    parts = nn.ParameterDict({"a": weight(5, 4), "b": weight(5), "c": weight(5, 7), "d": weight(2, 7)})
    return Net(forward, w=parts), torch.randn(3, 4)


def deep_linear():
    return nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3, bias=False), nn.Linear(3, 4)), torch.randn(3, 4)


def branching():
    """One of two layers, by what the data are; a loop whose length the data give."""

    def forward(self, x):
        h = F.gelu(self.first(x))
        h = self.yes(h) if h.sum() > 0 else self.no(h)
        for _ in range(int(h.abs().mean().item()) % 2 + 2):
            h = F.softplus(self.again(h))
        return self.last(h)

    layers = {name: nn.Linear(7, 7) for name in ("first", "yes", "no", "again", "last")}
    return Net(forward, **layers), torch.randn(3, 7)


def siamese():
    """One module, used twice and with tied weights of its own."""

    def forward(self, x):
        a, b = (self.encoder(part) for part in x.unbind(1))
        return self.head(torch.cat([a * b, (a - b).abs()], -1))

    encoder = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6))
    return Net(forward, encoder=encoder, head=nn.Linear(12, 2)), torch.randn(3, 2, 4)


def autoencoder():
    """Tied by transposing: decoder = encoder^T."""

    def forward(self, x):
        return torch.sigmoid(self.layer(x)) @ self.layer.weight + self.offset

    return Net(forward, layer=nn.Linear(6, 4), offset=weight(6)), torch.randn(3, 6)


class Block(nn.Module):
    """The basic block of a ResNet, with a 1x1 convolution or zero padding (option A) as its shortcut."""

    def __init__(self, into: int, out: int, stride: int, *, padded: bool) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        self.pad = out - into if padded else 0
        self.short = nn.Sequential()
        if into != out and not padded:
            self.short = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad // 2, self.pad // 2))
        return F.relu(y + self.short(x))


def resnet(blocks: int = 1, width: int = 4, *, padded: bool = False, size: int = 8):
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
    into = width
    for stage in range(3):
        for block in range(blocks):
            out = width * 2**stage
            layers.append(Block(into, out, 2 if stage and not block else 1, padded=padded))
            into = out
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(into, 5)]
    return nn.Sequential(*layers), images(size=size)


def resnet_padded():
    return resnet(padded=True)


def vgg():
    """No normalisation; flattened into the classifier, so channels stand beside positions."""
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()]
    layers += [nn.AvgPool2d(2), nn.Flatten(), nn.Linear(24, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5)]
    return nn.Sequential(*layers), images()


def densenet():
    def forward(self, x):
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return self.head(torch.cat(features, 1).mean((2, 3)))

    def layer(n):
        return nn.Sequential(nn.BatchNorm2d(n), nn.ReLU(), nn.Conv2d(n, 4, 3, padding=1))

    parts = nn.ModuleList(layer(4 * i) for i in (1, 2, 3))
    return Net(forward, stem=nn.Conv2d(3, 4, 3), layers=parts, head=nn.Linear(16, 2)), images()


def unet():
    def forward(self, x):
        a = F.relu(self.down1(x))
        b = F.relu(self.down2(F.max_pool2d(a, 2)))
        c = self.up(b)
        d = F.relu(self.join(torch.cat([a, c], 1)))
        return self.out(torch.cat([d, F.interpolate(b, scale_factor=2, mode="bilinear")], 1))

    parts = {"down1": nn.Conv2d(3, 4, 3, padding=1), "down2": nn.Conv2d(4, 6, 3, padding=1)}
    parts |= {"up": nn.ConvTranspose2d(6, 4, 2, 2), "join": nn.Conv2d(8, 5, 3, padding=1), "out": nn.Conv2d(11, 2, 1)}
    return Net(forward, **parts), images()


def mobile():
    """Inverted residual: 1x1, depthwise, 1x1; squeeze and excite in between."""

    def forward(self, x):
        x = F.relu6(self.bn0(self.stem(x)))
        h = F.hardswish(self.bn1(self.up(x)))
        h = F.hardswish(self.bn2(self.depth(h)))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(F.adaptive_avg_pool2d(h, 1)))))
        x = x + self.bn3(self.down(h * gate))
        return self.head(x.mean([2, 3]))

    parts = {"stem": nn.Conv2d(3, 4, 3), "up": nn.Conv2d(4, 8, 1), "depth": nn.Conv2d(8, 8, 3, padding=1, groups=8)}
    parts |= {"down": nn.Conv2d(8, 4, 1), "squeeze": nn.Conv2d(8, 3, 1), "excite": nn.Conv2d(3, 8, 1)}
    parts |= {f"bn{i}": nn.BatchNorm2d(n) for i, n in enumerate((4, 8, 8, 4))}
    return Net(forward, **parts, head=nn.Linear(4, 2)), images()


def shuffle():
    """Grouped convolutions and a channel shuffle between them, written by hand."""

    def forward(self, x):
        x = F.relu(self.first(F.relu(self.stem(x))))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(F.relu(self.second(x)).flatten(2).mean(-1))

    parts = {"stem": nn.Conv2d(3, 8, 3), "first": nn.Conv2d(8, 8, 1, groups=2), "second": nn.Conv2d(8, 6, 1, groups=2)}
    return Net(forward, **parts, head=nn.Linear(6, 2)), images()


def shuffled_units():
    """Half of the channels goes through, half through a branch, then they are shuffled, as in ShuffleNet."""

    def forward(self, x):
        x = F.relu(self.stem(x))
        for unit in self.units:
            a, b = x.chunk(2, 1)
            x = torch.cat([a, F.relu(unit(b))], 1)
            x = x.view(len(x), 2, 4, *x.shape[2:]).transpose(1, 2).flatten(1, 2)
        return self.head(x.mean((2, 3)))

    units = nn.ModuleList(nn.Conv2d(4, 4, 1) for _ in range(2))
    return Net(forward, stem=nn.Conv2d(3, 8, 3), units=units, head=nn.Linear(8, 2)), images()


def grouped():
    """Grouped, then grouped and transposed with the same groups; GroupNorm with as many."""
    layers = [nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 12, 3, groups=4), nn.SiLU()]
    layers += [nn.ConvTranspose2d(12, 8, 2, groups=4), nn.SiLU(), nn.Conv2d(8, 2, 1)]
    return nn.Sequential(*layers), images()


def norms():
    layers = [nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), nn.InstanceNorm1d(4, affine=True), nn.ELU()]
    layers += [nn.Conv1d(4, 6, 3, padding=1, padding_mode="reflect"), nn.InstanceNorm1d(6, track_running_stats=True)]
    layers += [nn.PReLU(6), nn.Conv1d(6, 4, 1), nn.BatchNorm1d(4), nn.PReLU(), nn.LayerNorm([4, 8]), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(32, 2)), torch.randn(2, 3, 8)


def superresolution():
    layers = [nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, padding=1), nn.PixelShuffle(2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(2, 1, 3, padding=1)), images()


def weight_norm():
    norm = nn.utils.parametrizations.weight_norm
    layers = [norm(nn.Linear(4, 5)), nn.ReLU(), norm(nn.Linear(5, 6), dim=1), nn.Tanh(), nn.Linear(6, 2)]
    return nn.Sequential(*layers), torch.randn(3, 4)


def spectral_norm():
    norm = nn.utils.parametrizations.spectral_norm
    return nn.Sequential(norm(nn.Conv2d(3, 5, 3)), nn.ReLU(), norm(nn.Conv2d(5, 4, 3))), images()


def mixer():
    """Two kinds of channels: over tokens and over features."""

    def forward(self, x):
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        x = x + self.features(self.norm2(x))
        return self.head(self.norm3(x).mean(1))

    parts = {"embed": nn.Conv2d(3, 6, 2, 2), "head": nn.Linear(6, 3)}
    parts |= {f"norm{i}": nn.LayerNorm(6) for i in (1, 2, 3)}
    parts["tokens"] = nn.Sequential(nn.Linear(16, 6), nn.GELU(), nn.Linear(6, 16))
    parts["features"] = nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 6))
    return Net(forward, **parts), images()


def attention(project: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor, Tensor]], **parts: nn.Module):
    """A layer with its own way to q, k and v of shape (batch, heads, tokens, 3), and a plain rest."""

    def forward(self, x):
        q, k, v = project(self, x)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(x + self.o(mixed.transpose(1, 2).flatten(2)))

    return Net(forward, o=nn.Linear(12, 5), out=nn.Linear(5, 2), **parts), torch.randn(2, 4, 5)


def separate():
    def project(self, x):
        return tuple(getattr(self, n)(x).view(2, 4, 4, 3).transpose(1, 2) for n in "qkv")

    return attention(project, **{n: nn.Linear(5, 12) for n in "qkv"})


def packed_chunk():
    def project(self, x):
        return tuple(part.unflatten(-1, (4, 3)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))

    return attention(project, qkv=nn.Linear(5, 36))


def packed_split():
    def project(self, x):
        return tuple(part.reshape(2, 4, 4, 3).permute(0, 2, 1, 3) for part in self.qkv(x).split(12, dim=2))

    return attention(project, qkv=nn.Linear(5, 36, bias=False))


def packed_permute():
    def project(self, x):
        return self.qkv(x).reshape(2, 4, 3, 4, 3).permute(2, 0, 3, 1, 4).unbind(0)

    return attention(project, qkv=nn.Linear(5, 36))


def packed_index():
    def project(self, x):
        qkv = self.qkv(x).reshape(2, 4, 3, 4, 3).permute(2, 0, 3, 1, 4).contiguous()
        return qkv[0], qkv[1], qkv[2]

    return attention(project, qkv=nn.Linear(5, 36))


def packed_per_head():
    """q, k and v of one head after the other, as in GPT-NeoX."""

    def project(self, x):
        return self.qkv(x).view(2, 4, 4, 9).transpose(1, 2).chunk(3, dim=-1)

    return attention(project, qkv=nn.Linear(5, 36))


def packed_two():
    """q alone, k and v together."""

    def project(self, x):
        k, v = self.kv(x).reshape(2, 4, 2, 4, 3).permute(2, 0, 3, 1, 4).unbind(0)
        return self.q(x).reshape(2, 4, 4, 3).permute(0, 2, 1, 3), k, v

    return attention(project, q=nn.Linear(5, 12), kv=nn.Linear(5, 24))


def einsum_attention():
    """Weights with an axis of their own for the heads."""

    def forward(self, x):
        q, k, v = (torch.einsum("btd,hde->bhte", x, w) for w in (self.q, self.k, self.v))
        scores = torch.einsum("bhte,bhse->bhts", q, k).softmax(-1)
        return self.out(torch.einsum("bhts,bhse,hed->btd", scores, v, self.o))

    parts = {n: weight(4, 5, 3) for n in "qkv"} | {"o": weight(4, 3, 5), "out": nn.Linear(5, 2)}
    return Net(forward, **parts), torch.randn(2, 4, 5)


def grouped_queries():
    """Two key-value heads for four queries' heads, a causal mask and rotary positions."""

    def rotate(x):
        t = torch.arange(x.shape[2])[:, None] / torch.tensor([1.0, 7.0])
        sin, cos = torch.cat([t, t], -1).sin(), torch.cat([t, t], -1).cos()
        a, b = x.chunk(2, -1)
        return x * cos + torch.cat([-b, a], -1) * sin

    def forward(self, x):
        q = rotate(self.q(x).view(2, 6, 4, 4).transpose(1, 2))
        k = rotate(self.k(x).view(2, 6, 2, 4).transpose(1, 2))
        v = self.v(x).view(2, 6, 2, 4).transpose(1, 2)
        k, v = (part[:, :, None].expand(2, 2, 2, 6, 4).reshape(2, 4, 6, 4) for part in (k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(self.o(mixed.transpose(1, 2).reshape(2, 6, 16)))

    parts = {"q": nn.Linear(5, 16), "k": nn.Linear(5, 8), "v": nn.Linear(5, 8), "o": nn.Linear(16, 6)}
    return Net(forward, **parts, out=nn.Linear(6, 2)), torch.randn(2, 6, 5)


class RMS(nn.Module):
    """Written by hand, as language models do."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def language_model(norm: Callable[[int], nn.Module] = lambda n: RMS(), *, tied: bool = False):
    """Pre-norm, SwiGLU; with norms that have no weights its stream may be rotated."""

    def forward(self, ids):
        x = self.embed(ids) + self.position[: ids.shape[1]]
        for layer in self.layers:
            h = layer["norm1"](x)
            x = x + layer["attn"](h, h, h, need_weights=False)[0]
            h = layer["norm2"](x)
            x = x + layer["down"](F.silu(layer["gate"](h)) * layer["up"](h))
        return self.norm(x) @ (self.embed.weight if tied else self.head).T

    def layer():
        parts = {"norm1": norm(6), "norm2": norm(6), "attn": nn.MultiheadAttention(6, 2, batch_first=True)}
        return nn.ModuleDict(parts | {"gate": nn.Linear(6, 8), "up": nn.Linear(6, 8), "down": nn.Linear(8, 6)})

    parts = {"embed": nn.Embedding(11, 6), "position": weight(9, 6), "norm": norm(6)}
    if not tied:
        parts["head"] = weight(11, 6)
    return Net(forward, **parts, layers=nn.ModuleList([layer(), layer()])), tokens()


def tied_language_model():
    return language_model(tied=True)


def torch_rms_language_model():
    return language_model(lambda n: nn.RMSNorm(n, elementwise_affine=False))


def affine_language_model():
    return language_model(nn.LayerNorm)


def encoder():
    layer = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, activation="gelu", norm_first=True)
    return nn.Sequential(
        nn.Embedding(11, 6), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(6, 3)
    ), tokens()


def seq2seq():
    """Encoder and decoder with cross-attention."""

    def forward(self, ids):
        mask = nn.Transformer.generate_square_subsequent_mask(6, dtype=self.embed.weight.dtype)
        x = self.embed(ids)
        return self.out(self.body(x, x.flip(1), tgt_mask=mask, tgt_is_causal=True))

    body = nn.Transformer(6, 2, 1, 1, 8, batch_first=True)
    return Net(forward, embed=nn.Embedding(11, 6), body=body, out=nn.Linear(6, 3)), tokens()


def vit(depth: int = 2, width: int = 6, heads: int = 2, size: int = 8):
    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.position
        for layer in self.layers:
            h = layer["norm1"](x)
            q, k, v = layer["qkv"](h).reshape(*h.shape[:2], 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
            h = ((q @ k.transpose(-2, -1)) * (width // heads) ** -0.5).softmax(-1) @ v
            x = x + layer["scale"] * layer["o"](h.transpose(1, 2).reshape(x.shape))
            x = x + layer["mlp"](layer["norm2"](x))
        return self.head(self.norm(x)[:, 0])

    def layer():
        parts = {f"norm{i}": nn.LayerNorm(width) for i in (1, 2)} | {"qkv": nn.Linear(width, 3 * width)}
        mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        return nn.ModuleDict(parts | {"o": nn.Linear(width, width), "mlp": mlp})

    layers = nn.ModuleList(layer() for _ in range(depth))
    for part in layers:
        part.scale = nn.Parameter(torch.rand(width))
        part.__class__ = type("Layer", (nn.ModuleDict,), {"__getitem__": lambda self, key: getattr(self, key)})
    parts = {"patch": nn.Conv2d(3, width, 4, 4), "cls": weight(1, 1, width), "head": nn.Linear(width, 5)}
    return Net(
        forward, **parts, position=weight(1, (size // 4) ** 2 + 1, width), layers=layers, norm=nn.LayerNorm(width)
    ), images(size=size)


def gru():
    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])

    return Net(forward, cell=nn.GRU(4, 5, 2, batch_first=True), head=nn.Linear(5, 2)), torch.randn(2, 6, 4)


def lstm():
    def forward(self, x):
        hidden, _ = self.cell(x)
        return self.head(hidden.mean(1))

    cell = nn.LSTM(4, 5, 2, batch_first=True, bidirectional=True)
    return Net(forward, cell=cell, head=nn.Linear(10, 2)), torch.randn(2, 6, 4)


def unrolled():
    """A recurrent network in a loop that writes into a tensor of zeros."""

    def forward(self, x):
        h, outs = x.new_zeros(2, 5), x.new_zeros(2, 6, 5)
        for t in range(6):
            h = torch.tanh(self.into(x[:, t]) + self.again(h))
            outs[:, t] = h
        return self.out(outs)

    return Net(forward, into=nn.Linear(4, 5), again=nn.Linear(5, 5), out=nn.Linear(5, 2)), torch.randn(2, 6, 4)


def cells():
    def forward(self, x):
        h, c = torch.zeros(2, 5, dtype=x.dtype), torch.zeros(2, 5, dtype=x.dtype)
        g = torch.zeros(2, 3, dtype=x.dtype)
        for step in x.unbind(1):
            h, c = self.lstm(step, (h, c))
            g = self.gru(h, g)
        return self.out(g)

    parts = {"lstm": nn.LSTMCell(4, 5), "gru": nn.GRUCell(5, 3), "out": nn.Linear(3, 2)}
    return Net(forward, **parts), torch.randn(2, 6, 4)


def gcn():
    def forward(self, x, adjacency):
        h = F.relu(adjacency @ self.one(x))
        return adjacency @ self.two(h)

    return Net(forward, one=nn.Linear(4, 5), two=nn.Linear(5, 3)), torch.randn(5, 4), torch.rand(5, 5)


def sparse_gcn():
    def forward(self, x, adjacency):
        h = F.relu(torch.sparse.mm(adjacency, self.one(x)))
        h = torch.tanh(adjacency @ self.two(h))
        return self.three(h)

    layers = {"one": nn.Linear(4, 5), "two": nn.Linear(5, 6), "three": nn.Linear(6, 3)}
    return Net(forward, **layers), torch.randn(5, 4), torch.eye(5).roll(1, 0).to_sparse()


def message_passing():
    """Messages along edges, gathered and added up."""

    def forward(self, x, edges):
        h = F.relu(self.embed(x))
        source, target = edges
        message = F.relu(self.message(torch.cat([h[source], h.index_select(0, target)], -1)))
        h = h + torch.zeros_like(h).index_add(0, target, message)
        return self.out(h.sum(0))

    parts = {"embed": nn.Linear(4, 5), "message": nn.Linear(10, 5), "out": nn.Linear(5, 2)}
    return Net(forward, **parts), torch.randn(6, 4), torch.randint(0, 6, (2, 9))


def experts():
    """A dense mixture: every expert has its own hidden units."""

    def forward(self, x):
        gate = self.gate(x).softmax(-1)
        h = F.relu(torch.einsum("bd,edh->beh", x, self.up) + self.bias)
        return torch.einsum("be,beh,eho->bo", gate, h, self.down)

    parts = {"gate": nn.Linear(4, 3), "up": weight(3, 4, 5), "bias": weight(3, 5), "down": weight(3, 5, 2)}
    return Net(forward, **parts), torch.randn(6, 4)


def glu_convolution():
    def forward(self, x):
        x = F.glu(self.one(x), dim=1)
        a, b = self.two(x).chunk(2, 1)
        return self.out((torch.tanh(a) * torch.sigmoid(b)).amax(-1))

    parts = {"one": nn.Conv1d(3, 8, 3), "two": nn.Conv1d(4, 10, 3, dilation=2), "out": nn.Linear(5, 2)}
    return Net(forward, **parts), torch.randn(2, 3, 16)


def unknown():
    """An operation no rule covers between two layers that are otherwise free."""

    def forward(self, x):
        h = torch.fft.fft(self.two(F.relu(self.one(x)))).real
        return self.four(F.relu(self.three(h)))

    return Net(forward, **{n: nn.Linear(6, 6) for n in ("one", "two", "three", "four")}), torch.randn(2, 6)


def physics():
    """sin, and a derivative by autograd."""

    def forward(self, x):
        return self.body(torch.cat([x.sin(), x.cos()], -1))

    return Net(forward, body=nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.Tanh(), nn.Linear(5, 1))), (
        torch.randn(7, 2)
    )


ALL = (
    *(mlp, functional_mlp, deep_linear, branching, siamese, autoencoder, resnet, resnet_padded, vgg, densenet, unet),
    *(
        mobile,
        shuffle,
        shuffled_units,
        grouped,
        norms,
        superresolution,
        weight_norm,
        spectral_norm,
        mixer,
        separate,
        packed_chunk,
    ),
    *(packed_split, packed_permute, packed_index, packed_per_head, packed_two, einsum_attention, grouped_queries),
    *(language_model, tied_language_model, torch_rms_language_model, affine_language_model, encoder, seq2seq, vit),
    *(gru, lstm, unrolled, cells, gcn, sparse_gcn, message_passing, experts, glu_convolution, unknown, physics),
)
