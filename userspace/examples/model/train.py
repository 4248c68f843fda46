#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Train a tiny llama-architecture text model and export it for llama2.c readers.

The text is Jane Austen's six novels from Debian's package r-cran-janeaustenr.
The results are two files:

  story.bin      llama2.c checkpoint, version 0 ("legacy"), fp32
  tokenizer.bin  llama2.c tokenizer, byte pair encoding

Needs python3-torch and python3-numpy; libopenblas0-pthread makes it faster.
With --check it reads the two files back, runs a small numpy forward pass that
shares no code with the training, and prints the text (numpy is enough for it).
"""
import argparse
import ctypes
import math
import os
import re
import struct
import sys
import time
import unicodedata
import zlib
from collections import Counter, defaultdict

# The BLAS library reads its thread count when it is loaded, so set it first.
_pre = argparse.ArgumentParser(add_help=False)
_pre.add_argument("--threads", type=int, default=1)
_threads = str(_pre.parse_known_args()[0].threads)
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = _threads
os.environ["OMP_WAIT_POLICY"] = "passive"
import numpy as np  # noqa: E402

BOS, FIRST_BYTE, FIRST_PIECE = 1, 3, 259
BOOKS = "/usr/lib/R/site-library/janeaustenr/data"


# ---------------------------------------------------------------- the text --

def read_books(folder):
    """Yield each book as a list of lines, read straight from the R data file.

    Rdata.rdb is a row of records: a 4-byte length, then a zlib stream with one
    R object in XDR form. Each object here is a plain character vector.
    """
    with open(os.path.join(folder, "Rdata.rdb"), "rb") as f:
        data = f.read()
    while data:
        z = zlib.decompressobj()
        obj = z.decompress(data[4:])
        data = z.unused_data
        # "X\n", version 3, two R versions, the name of the encoding.
        (pos,) = struct.unpack_from(">I", obj, 14)
        pos += 18
        kind, count = struct.unpack_from(">II", obj, pos)
        if obj[:2] != b"X\n" or kind & 0xFF != 16:
            sys.exit("unexpected data in " + folder)
        pos += 8
        lines = []
        for _ in range(count):
            (size,) = struct.unpack_from(">i", obj, pos + 4)
            pos += 8
            lines.append(obj[pos:pos + max(size, 0)].decode("utf-8"))
            pos += max(size, 0)
        yield lines


def clean(line):
    """Plain ASCII, no italics marks, single spaces."""
    line = unicodedata.normalize("NFKD", line.replace("_", ""))
    line = line.encode("ascii", "ignore").decode()
    return re.sub(r"\s+", " ", line).strip()


def read_chapters(folder):
    """Return a list of chapters; a chapter is a list of paragraphs."""
    heading = re.compile(r"(chapter|volume|finis|the end)\b.{0,12}$", re.I)
    chapters = []
    for lines in read_books(folder):
        # What comes before the first heading is the title page.
        chapter, paragraph, started = [], [], False
        for line in lines + ["", "CHAPTER"]:
            line = clean(line)
            if heading.match(line) or not line:
                if paragraph:
                    text = " ".join(paragraph)
                    if started and re.search("[a-z]", text):
                        chapter.append(text)
                    paragraph = []
                if line:
                    started = True
                    if chapter:
                        chapters.append(chapter)
                    chapter = []
            else:
                paragraph.append(line)
    return chapters


# ----------------------------------------------------------- the tokenizer --

# A word with the space before it, or a run of other marks, or a line end.
# No piece crosses these borders, so llama2.c's greedy merge over the whole
# text gives the same tokens as the merge of each part alone.
PART = re.compile(r"\n| ?[A-Za-z]+| ?[^A-Za-z\s]+| ")


def train_bpe(text, vocab_size):
    """Return the pieces after the byte tokens and the number that are characters."""
    counts = Counter(PART.findall(text))
    chars = sorted(set(text) | {" ", "\n"})
    words = [(list(w), n) for w, n in sorted(counts.items())]
    pairs, where = Counter(), defaultdict(set)
    for i, (symbols, n) in enumerate(words):
        for p in zip(symbols, symbols[1:]):
            pairs[p] += n
            where[p].add(i)
    merges = []
    while len(merges) < vocab_size - FIRST_PIECE - len(chars):
        best = max(pairs, key=lambda p: (pairs[p], p))
        new = best[0] + best[1]
        if new not in merges:
            merges.append(new)
        for i in sorted(where.pop(best)):
            symbols, n = words[i]
            for p in zip(symbols, symbols[1:]):
                pairs[p] -= n
            k = 0
            while k < len(symbols) - 1:
                if (symbols[k], symbols[k + 1]) == best:
                    symbols[k:k + 2] = [new]
                k += 1
            for p in zip(symbols, symbols[1:]):
                pairs[p] += n
                where[p].add(i)
        del pairs[best]
    return chars + merges, len(chars)


def write_tokenizer(path, pieces, n_chars):
    """Characters have score 0, merges have minus their rank."""
    special = [b"<unk>", b"\n<s>\n", b"\n</s>\n"]
    table = special + [b"<0x%02X>" % i for i in range(256)]
    table += [p.encode() for p in pieces]
    with open(path, "wb") as f:
        f.write(struct.pack("<I", max(map(len, table))))
        for i, piece in enumerate(table):
            score = -float(max(0, i - FIRST_PIECE - n_chars + 1))
            f.write(struct.pack("<fi", score, len(piece)) + piece)


class Tokenizer:
    """tokenizer.bin read back, with encode() and decode() as in llama2.c."""

    def __init__(self, path, vocab_size):
        self.table, self.score, self.cache = [], [], {}
        with open(path, "rb") as f:
            f.read(4)
            for _ in range(vocab_size):
                score, size = struct.unpack("<fi", f.read(8))
                self.table.append(f.read(size))
                self.score.append(score)
        self.ids = {p: i for i, p in enumerate(self.table)}

    def merge(self, text):
        """Tokens of a text, without the dummy space at its start."""
        ids = []
        for ch in text:
            raw = ch.encode()
            ids += [self.ids[raw]] if raw in self.ids else [b + FIRST_BYTE for b in raw]
        while True:
            best, at = None, -1
            for k in range(len(ids) - 1):
                i = self.ids.get(self.table[ids[k]] + self.table[ids[k + 1]])
                if i is not None and (best is None or self.score[i] > self.score[best]):
                    best, at = i, k
            if best is None:
                return ids
            ids[at:at + 2] = [best]

    def part(self, text):
        if text not in self.cache:
            self.cache[text] = self.merge(text)
        return self.cache[text]

    def encode(self, text):
        return [BOS] + (self.merge(" " + text) if text else [])

    def decode(self, ids):
        out = b""
        for prev, i in zip([0] + ids, ids):
            piece = self.table[i]
            if i == BOS:
                continue
            if prev == BOS and piece[:1] == b" ":
                piece = piece[1:]
            if FIRST_BYTE <= i < FIRST_PIECE:
                piece = bytes([i - FIRST_BYTE])
            out += piece
        return out.decode("utf-8", "replace")


# ---------------------------------------------------------------- the data --

class Rows:
    """Rows of tokens that begin with BOS at the start of a sentence."""

    def __init__(self, chapters, tok):
        stream, self.starts = [], []
        for chapter in chapters:
            first = True
            stream.append(BOS)
            parts = PART.findall("\n".join(chapter))
            for i, part in enumerate(parts):
                ids = tok.part(part)
                if first or parts[i - 1] == "\n":  # a paragraph: add the dummy space
                    head = tok.part(" " + part)
                    ids = head if first else ids
                elif re.search(r'[.?!]"?$', parts[i - 1]) and re.match(r' ("|[A-Z])', part) \
                        and parts[i - 2] not in (" Mr", " Mrs", " Dr", "Mr", "Mrs", "Dr"):
                    head = ids
                else:
                    head = None
                stream += ids
                if head and part != "\n":
                    self.starts.append((len(stream), [BOS] + head))
                first = False
        self.stream = np.array(stream, dtype=np.int64)

    def get(self, size, length, rng):
        out = np.empty((size, length + 1), dtype=np.int64)
        limit = len(self.stream) - length - 1
        for row in out:
            pos = limit + 1
            while pos > limit:
                pos, head = self.starts[rng.integers(len(self.starts))]
            row[:len(head)] = head
            row[len(head):] = self.stream[pos:pos + length + 1 - len(head)]
        return out


# --------------------------------------------------------------- the model --

def build_model(a):
    import torch
    from torch import nn
    import torch.nn.functional as F

    head = a.dim // a.heads
    kv_dim = a.kv_heads * head
    angle = np.outer(np.arange(a.seq), 10000.0 ** (-np.arange(0, head, 2) / head))
    cos = torch.tensor(np.cos(angle).repeat(2, axis=1), dtype=torch.float32)
    sin = torch.tensor(np.sin(angle).repeat(2, axis=1), dtype=torch.float32)
    # x @ turn swaps each pair (a, b) into (-b, a).
    turn = torch.zeros(head, head)
    for i in range(0, head, 2):
        turn[i + 1, i], turn[i, i + 1] = -1.0, 1.0
    mask = torch.full((a.seq, a.seq), -1e9).triu(1)

    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(a.dim))

        def forward(self, x):
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = Norm(), Norm()
            self.wq = nn.Linear(a.dim, a.dim, bias=False)
            self.wk = nn.Linear(a.dim, kv_dim, bias=False)
            self.wv = nn.Linear(a.dim, kv_dim, bias=False)
            self.wo = nn.Linear(a.dim, a.dim, bias=False)
            self.w1 = nn.Linear(a.dim, a.hidden, bias=False)
            self.w2 = nn.Linear(a.hidden, a.dim, bias=False)
            self.w3 = nn.Linear(a.dim, a.hidden, bias=False)

        def forward(self, x):
            b, t, _ = x.shape
            h = self.norm1(x)
            q = self.wq(h).view(b, t, a.heads, head).transpose(1, 2)
            k = self.wk(h).view(b, t, a.kv_heads, head).transpose(1, 2)
            v = self.wv(h).view(b, t, a.kv_heads, head).transpose(1, 2)
            q = (q * cos[:t] + q @ turn * sin[:t]) * head ** -0.5
            k = k * cos[:t] + k @ turn * sin[:t]
            # The query heads of one group share a key/value head, so fold the
            # group into the time axis instead of copying keys and values.
            group = a.heads // a.kv_heads
            q = q.reshape(b * a.kv_heads, group * t, head)
            k = k.reshape(b * a.kv_heads, t, head)
            v = v.reshape(b * a.kv_heads, t, head)
            s = torch.baddbmm(mask[:t, :t].repeat(group, 1), q, k.transpose(1, 2))
            o = torch.bmm(s.softmax(-1), v)
            o = o.view(b, a.heads, t, head).transpose(1, 2).reshape(b, t, a.dim)
            x = x + F.dropout(self.wo(o), a.dropout, self.training)
            h = self.norm2(x)
            h = self.w2(F.silu(self.w1(h)) * self.w3(h))
            return x + F.dropout(h, a.dropout, self.training)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Embedding(a.vocab, a.dim)
            self.layers = nn.ModuleList(Layer() for _ in range(a.layers))
            self.norm = Norm()
            for name, p in self.named_parameters():
                if p.dim() == 2:
                    std = 0.02 if "embed" in name else 0.5 * p.shape[1] ** -0.5
                    if "wo" in name or "w2" in name:
                        std /= math.sqrt(2 * a.layers)
                    nn.init.normal_(p, std=std)

        def forward(self, rows):
            """Mean loss in nats for each token."""
            x = self.embed(rows[:, :-1])
            for layer in self.layers:
                x = layer(x)
            logits = self.norm(x) @ self.embed.weight.t()
            return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())

    return Model()


def write_model(path, a, model):
    """The order is that of llama2.c's legacy_export()."""
    head = a.dim // a.heads
    angle = np.outer(np.arange(a.seq), 10000.0 ** (-np.arange(0, head, 2) / head))
    parts = [model.embed.weight]
    for name in ("norm1", "wq", "wk", "wv", "wo", "norm2", "w1", "w2", "w3"):
        parts += [getattr(layer, name).weight for layer in model.layers]
    parts = [p.detach().numpy() for p in parts + [model.norm.weight]]
    parts += [np.cos(angle), np.sin(angle)]
    with open(path, "wb") as f:
        f.write(struct.pack("<7i", a.dim, a.hidden, a.layers, a.heads,
                            a.kv_heads, a.vocab, a.seq))
        for p in parts:
            f.write(np.ascontiguousarray(p, dtype="<f4").tobytes())


# ------------------------------------------------------------- the training --

def train(a):
    import torch
    torch.set_num_threads(a.threads)
    # Keep freed memory in the process (M_MMAP_MAX, M_TRIM_THRESHOLD of glibc):
    # asking the kernel for fresh pages in each step costs much time.
    libc = ctypes.CDLL(None)
    libc.mallopt(-4, 0)
    libc.mallopt(-1, 2**31 - 1)
    torch.manual_seed(a.seed)
    rng = np.random.default_rng(a.seed)
    os.makedirs(a.out, exist_ok=True)
    model_path = os.path.join(a.out, "story.bin")
    tok_path = os.path.join(a.out, "tokenizer.bin")

    chapters = read_chapters(a.books)
    held = chapters[12::25]
    kept = [c for i, c in enumerate(chapters) if i % 25 != 12]
    text = "\n".join("\n".join(c) for c in kept)
    print(f"text: {len(chapters)} chapters, {len(held)} of them held out; "
          f"{len(text)} characters to train on")
    t0 = time.time()
    pieces, n_chars = train_bpe(text, a.vocab)
    write_tokenizer(tok_path, pieces, n_chars)
    tok = Tokenizer(tok_path, a.vocab)
    data, test = Rows(kept, tok), Rows(held, tok)
    print(f"tokens: {len(data.stream)} to train on, {len(test.stream)} held out, "
          f"{len(text) / len(data.stream):.2f} characters each; "
          f"vocabulary took {time.time() - t0:.0f} s")

    model = build_model(a)
    n_params = sum(p.numel() for p in model.parameters())
    print(f"model: {n_params} parameters", flush=True)
    groups = [{"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": a.decay},
              {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0}]
    opt = torch.optim.AdamW(groups, lr=a.lr, betas=(0.9, 0.98), eps=1e-9)
    test_rows = torch.from_numpy(test.get(96, a.seq, np.random.default_rng(1)))
    sizes = np.array([len(p) for p in tok.table])
    sizes[:FIRST_PIECE] = 1
    per_token = sizes[test_rows[:, 1:].numpy()].mean()

    def held_out_loss():
        model.eval()
        with torch.no_grad():
            loss = np.mean([model(r).item() for r in test_rows.split(8)])
        model.train()
        return loss

    start = last = time.time()
    step, seen, mean, done, show = 0, 0, None, 0.0, 0
    while done < 1.0:
        # One cosine from the top rate to a twentieth of it, after a warm-up.
        rate = a.lr * min(1.0, (step + 1) / a.warmup)
        rate *= 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done))
        for group in opt.param_groups:
            group["lr"] = rate
        # Short rows first (they are faster), full rows in the last part.
        length = a.seq if done >= a.short else a.seq // 2
        size = a.batch * a.seq // length
        loss = model(torch.from_numpy(data.get(size, length, rng)))
        opt.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        step += 1
        seen += size * length
        now = time.time()
        done = step / a.steps if a.steps else (now - start) / (a.minutes * 60)
        if step == 1 or now - last >= 10 or done >= 1.0:
            left = (now - start) * (1 / done - 1)
            note = ""
            show += 1
            if show % 6 == 0 or done >= 1.0:
                note = f"  held-out {held_out_loss():.4f}"
            print(f"step {step:6d}  loss {mean:.4f}  {seen / (now - start):7.0f} tokens/s  "
                  f"{max(0, left):4.0f} s left{note}", flush=True)
            last = now
    loss = held_out_loss()
    write_model(model_path, a, model)
    print(f"trained {step} steps, {seen / len(data.stream):.1f} times the text, "
          f"in {(time.time() - start) / 60:.1f} minutes")
    print(f"held-out loss: {loss:.4f} nats per token, "
          f"{loss / per_token / math.log(2):.4f} bits per character")
    for path in (model_path, tok_path):
        print(f"{path}: {os.path.getsize(path)} bytes")
    for heat in (0.0, 0.6):
        print(f"\nsample, temperature {heat}:")
        check(model_path, tok_path, a.prompt, a.seq, heat, a.seed)


# ---------------------------------------------------------------- the check --

def check(model_path, tok_path, prompt, count, heat, seed):
    """Read the files back, run them with numpy alone, print the text.

    count is the number of positions, with the prompt, as -n in llama2.c.
    """
    with open(model_path, "rb") as f:
        raw = f.read()
    dim, hidden, layers, heads, kv_heads, vocab, seq = struct.unpack_from("<7i", raw)
    vocab = abs(vocab)
    head = dim // heads
    pos = 28

    def take(*shape):
        nonlocal pos
        size = int(np.prod(shape))
        part = np.frombuffer(raw, "<f4", size, pos).reshape(shape)
        pos += 4 * size
        return part

    embed = take(vocab, dim)
    att_norm = take(layers, dim)
    wq = take(layers, dim, dim)
    wk = take(layers, kv_heads * head, dim)
    wv = take(layers, kv_heads * head, dim)
    wo = take(layers, dim, dim)
    ffn_norm = take(layers, dim)
    w1 = take(layers, hidden, dim)
    w2 = take(layers, dim, hidden)
    w3 = take(layers, hidden, dim)
    last_norm = take(dim)
    take(2, seq, head // 2)  # the rotation tables; they are worked out below
    if pos != len(raw):
        sys.exit(f"{model_path}: {len(raw)} bytes, but its header asks for {pos}")
    tok = Tokenizer(tok_path, vocab)

    def norm(x, w):
        return x / np.sqrt(np.mean(x * x) + np.float32(1e-5)) * w

    def rotate(x, p):
        x = x.reshape(-1, head // 2, 2)
        ang = p / 10000.0 ** (np.arange(head // 2) * 2.0 / head)
        c, s = np.cos(ang).astype("f4"), np.sin(ang).astype("f4")
        return np.stack([x[..., 0] * c - x[..., 1] * s,
                         x[..., 0] * s + x[..., 1] * c], -1).reshape(-1, head)

    keys = np.zeros((layers, seq, kv_heads, head), "f4")
    vals = np.zeros_like(keys)
    rng = np.random.default_rng(seed)
    ids = tok.encode(prompt)
    for p in range(min(count, seq)):
        x = embed[ids[p]]
        for n in range(layers):
            h = norm(x, att_norm[n])
            q = rotate(wq[n] @ h, p)
            keys[n, p] = rotate(wk[n] @ h, p)
            vals[n, p] = (wv[n] @ h).reshape(kv_heads, head)
            out = np.empty((heads, head), "f4")
            for j in range(heads):
                g = j * kv_heads // heads
                s = keys[n, :p + 1, g] @ q[j] / np.float32(math.sqrt(head))
                s = np.exp(s - s.max())
                out[j] = (s / s.sum()) @ vals[n, :p + 1, g]
            x = x + wo[n] @ out.ravel()
            h = norm(x, ffn_norm[n])
            gate = w1[n] @ h
            x = x + w2[n] @ (gate / (1 + np.exp(-gate)) * (w3[n] @ h))
        logits = embed @ norm(x, last_norm)
        if p + 1 < len(ids):
            continue  # still inside the prompt
        if heat > 0:
            z = np.exp((logits - logits.max()).astype("f8") / heat)
            nxt = int(rng.choice(vocab, p=z / z.sum()))
        else:
            nxt = int(logits.argmax())
        if nxt == BOS:
            break
        ids.append(nxt)
    text = tok.decode(ids)
    print(text)
    return text


def main():
    ap = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--minutes", type=float, default=12, help="time budget (default 12)")
    ap.add_argument("--steps", type=int, default=0,
                    help="train this many steps instead; the result does not depend on speed")
    ap.add_argument("--out", default=".", help="folder for story.bin and tokenizer.bin")
    ap.add_argument("--books", default=BOOKS, help="folder with the package's Rdata.rdb")
    ap.add_argument("--vocab", type=int, default=1024)
    ap.add_argument("--dim", type=int, default=96)
    ap.add_argument("--hidden", type=int, default=232)
    ap.add_argument("--layers", type=int, default=4)
    ap.add_argument("--heads", type=int, default=4)
    ap.add_argument("--kv-heads", type=int, default=2)
    ap.add_argument("--seq", type=int, default=256)
    ap.add_argument("--batch", type=int, default=8, help="full rows in a step")
    ap.add_argument("--short", type=float, default=0.7,
                    help="part of the training with half rows (default 0.7)")
    ap.add_argument("--lr", type=float, default=3e-3)
    ap.add_argument("--decay", type=float, default=0.1)
    ap.add_argument("--dropout", type=float, default=0.0)
    ap.add_argument("--warmup", type=int, default=100)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--prompt", default="Emma was", help="for the sample at the end")
    ap.add_argument("--check", nargs=4, metavar=("CHECKPOINT", "TOKENIZER", "PROMPT", "N"),
                    help="do not train: print the text for N positions, greedy")
    ap.add_argument("--temperature", type=float, default=0.0, help="for --check (default 0)")
    a = ap.parse_args()
    if a.check:
        model_path, tok_path, prompt, count = a.check
        check(model_path, tok_path, prompt, int(count), a.temperature, a.seed)
    else:
        train(a)


if __name__ == "__main__":
    main()
