# SPDX-License-Identifier: Apache-2.0
"""Writes the reference tokenizer's token ids, a JSON line a text.

    tokens.py --model FOLDER FILE… > reference.jsonl
    MILLRACE_WORDPIECE_REFERENCE=reference.jsonl go test ./text/wordpiece

A FILE is CSV, TSV, JSONL or CoNLL-U; every field of a row is a text, as is every
line of a plain file. With --golden the texts are those below, which make
text/wordpiece/testdata/golden.jsonl; with --characters every character of
Unicode is a text.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

from tokenizers import Tokenizer

GOLDEN = [
    "",
    " \t\r\n ",
    "My RoboVac X30 won't charge any more!",
    "HELP!!! order #RH-48213 never arrived :(",
    "Café crème, naïve façade, Übergröße, Smørrebrød, Łódź, ÅNGSTRÖM",
    "a decomposed e\u0301 and a precomposed \u00e9 are one",
    "İstanbul, ISTANBUL, ıstanbul; ΣΊΣΥΦΟΣ; Straße; ﬁne ﬂoor ½ ² ℃",
    "吸塵器は動きません。 掃除機 ロボット ひらがな 한국어 텍스트 각",
    "\uf900\ufa0e \U00020000 \U0002f800 compatibility ideographs",
    "zero\u200bwidth, soft\u00adhyphen, word\u2060joiner, bom\ufeff, bell\u0007, del\u007f, nul\u0000!",
    "no\u00a0break, en\u2002space, ideographic\u3000space, line\u2028separator, next\u0085line, tab\tand\x0bvt\x0cff",
    "emoji 😀👍🏽❤️ 🇩🇪 flags and ZWJ 👩‍💻 family",
    "“curly” ‘quotes’ — dashes – and… dots ¿qué? ¡sí! «guillemets» 、。・",
    "$100, €429.99, £5 + 3 = 8 <tag> ^caret `tick` |pipe| ~tilde~ §5 ©®™ °C",
    "https://rowan.example/help?id=42&x=%20#top mail@rowan.example C:\\temp\\x.txt",
    "[CLS] is text [ here",
    "antidisestablishmentarianism unbelievably internationalization xqzjkv",
    "donaudampfschifffahrtsgesellschaftskapitaen",
    "a" * 100,
    "a" * 101,
    "é" * 100 + " " + "é" * 101,
    "e\u0301" * 60,
    "x" * 99 + "." + "y" * 101 + "!ok",
    "##ing ## # #hashtag @handle under_score hy-phen",
    "don't can't won't it's I'M YOU'RE rock'n'roll O’Brien",
    "0123456789 3.14 1,000,000 12:30pm 2024-11-05 +49 30 1234567",
    "Привет МИР ёлка Й; Ελληνικά; العربية تَجْرِبَة; עִבְרִית; हिन्दी; ไทย; தமிழ்",
    "\u0300leading mark; stacked z\u0351\u036b\u0343a\u0348l\u0322g\u0321o",
    "\ufffd replacement, private \ue000 use, unassigned \u0378 end",
    "ſmall long s, Ǆ ǆ, ŉ, K kelvin, Å angstrom, ᾳ, ẞ",
    "um so yeah my x30 it just like sits there on the little dock thing and nothing happens you know",
]


def texts(path):
    if path.suffix in (".csv", ".tsv"):
        with open(path, encoding="utf-8", newline="") as f:
            quoting = csv.QUOTE_NONE if path.suffix == ".tsv" else csv.QUOTE_MINIMAL
            for row in csv.reader(f, delimiter="\t" if path.suffix == ".tsv" else ",", quoting=quoting):
                yield from row
    elif path.suffix == ".jsonl":
        for line in path.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)["text"]
    elif path.suffix == ".conllu":
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("# text = "):
                yield line.removeprefix("# text = ")
    else:
        yield from path.read_text(encoding="utf-8").splitlines()


def characters():
    for code in range(0x110000):
        if not 0xD800 <= code < 0xE000:
            yield f"a{chr(code)}b"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--model", type=Path, required=True)
    arguments.add_argument("--golden", action="store_true")
    arguments.add_argument("--characters", action="store_true")
    arguments.add_argument("files", type=Path, nargs="*")
    a = arguments.parse_args()
    tokenizer = Tokenizer.from_file(str(a.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    everything = list(GOLDEN) if a.golden else list(characters()) if a.characters else []
    for path in a.files:
        everything += texts(path)
    # The names of special tokens are ordinary text in Go.
    special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    everything = [t.replace("[CLS]", "[ CLS ]") if a.golden else t for t in everything]
    everything = [t for t in everything if not any(s in t for s in special)]
    for text, encoding in zip(everything, tokenizer.encode_batch(everything, add_special_tokens=False)):
        sys.stdout.write(json.dumps({"text": text, "ids": encoding.ids}, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
