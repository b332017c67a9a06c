# SPDX-License-Identifier: GPL-3.0-or-later
"""Marked words: each exists nowhere else and may stand in some kinds of places, by default in none. They are looked for in every form
in which a program may have written them."""
import base64
import secrets


def forms(word):
    """{form: bytes}: to be found in lower case; and as it is."""
    w = word.encode()
    folded = {"plain": w, "reversed": w[::-1], "hex": w.hex().encode(), "hex of upper case": w.upper().hex().encode(),
              "UTF-16": word.encode("utf-16-le")[:-1]}  # of either order
    exact = {}
    for what, text in (("base64", w), ("base64 of upper case", w.upper())):
        for pad, first in ((0, 0), (1, 2), (2, 3)):  # at each place in three bytes, without what its neighbours decide
            whole = base64.b64encode(b"\0" * pad + text)[first:]
            whole = whole if (pad + len(text)) % 3 == 0 else whole.rstrip(b"=")[:-1]
            exact[f"{what}, {pad}"] = whole
            exact[f"{what} for URLs, {pad}"] = whole.translate(bytes.maketrans(b"+/", b"-_"))
    return folded, exact


def has(data, low, word):
    folded, exact = forms(word)
    return [form for form, text in folded.items() if text in low] + [form for form, text in exact.items() if text in data]


class Marks:
    def __init__(self):
        self.stem = "q" + secrets.token_hex(4)
        self.words, self.may = {}, {}

    def __call__(self, what, *may):
        """The word for it. `may`: the kinds of places where it may be."""
        self.may.setdefault(what, set()).update(may)
        return self.words.setdefault(what, self.stem + secrets.token_hex(4))

    def found(self, data):
        """{what: forms} of those that are in there."""
        low = data.lower()
        if not has(data, low, self.stem):
            return {}
        return {what: f for what, word in self.words.items() if (f := has(data, low, word))}

    def leaks(self, places):
        """Of (name, kind, data), a kind perhaps "record or damaged": one line each for what is where it may not be."""
        return [f"{name} ({kind}) holds the {what}, {', '.join(how)}" for name, kind, data in places
                for what, how in self.found(data).items() if not self.may[what] & set(kind.split(" or "))]
