"""The canned texts and word lists behind the demo endpoint's skills."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FALLBACK = (
    "This is the demo endpoint of helix_nb: canned text, not a model. "
    'To talk to a real one, set HELIX_API_KEY or run hx.connect("https://your-server").'
)

REASONING = "The demo endpoint does not think: it looks the prompt up in a short list of canned skills."

CAPITALS = {
    "Australia": "Canberra",
    "Austria": "Vienna",
    "Brazil": "Brasília",
    "Canada": "Ottawa",
    "Egypt": "Cairo",
    "France": "Paris",
    "Germany": "Berlin",
    "Greece": "Athens",
    "India": "New Delhi",
    "Italy": "Rome",
    "Japan": "Tokyo",
    "Kenya": "Nairobi",
    "Mexico": "Mexico City",
    "Norway": "Oslo",
    "Poland": "Warsaw",
    "Portugal": "Lisbon",
    "Spain": "Madrid",
    "Sweden": "Stockholm",
}

FACTS = (
    (r"largest planet", "The largest planet of the solar system is Jupiter."),
    (r"speed of light", "Light travels at 299,792,458 metres per second in a vacuum."),
    (r"boiling point of water|water boils?", "At sea level water boils at 100 degrees Celsius."),
    (r"who wrote hamlet", "William Shakespeare wrote Hamlet."),
    (r"symbol (?:for|of) gold", "The chemical symbol of gold is Au."),
    (r"who are you|what are you|what can you do|what can you help|\bhelp\b\W*$", FALLBACK),
)

POSITIVE = _words(
    """admire amazing astonishing beautiful best better brilliant calm charming cheerful clean comfortable
    cosy cozy delicious delight delighted delightful easy elegant enjoy enjoyable enjoyed excellent fabulous
    fantastic fast favourite favorite fine flawless fresh friendly fun generous glad good gorgeous grateful
    great happy helpful impressed impressive incredible joy kind kindly liked love loved lovely loves
    marvellous memorable nice outstanding perfect perfectly pleasant pleased polite quick quickly
    recommend recommended reliable relaxing satisfied smooth solid spotless stunning sturdy superb tasty
    terrific thank thanks thrilled warm welcoming wonderful worth wow"""
)

NEGATIVE = _words(
    """angry annoyed annoying awful bad bitter bland boring bother broke broken burnt cancelled cheap cold
    complain complaint cracked crashed crashes damaged delayed dirty disappointed disappointing disappointment
    disgusting dreadful dull expensive fail failed fails faulty filthy flimsy frustrated frustrating garbage
    greasy hate hated hates horrible ignored late lost mediocre mess missing mistake noisy
    overpriced pain pathetic poor poorly problem problems refund regret rude ruined sad scratched slow smelled
    sorry soggy stale stolen stopped terrible tired ugly unacceptable uncomfortable unfriendly unhappy
    unhelpful useless wait waste wasted weak worse worst wrong"""
)

NEGATIONS = _words("not no never hardly barely isn't wasn't don't didn't doesn't won't cannot can't")

STORY = """\
A canned story from the demo endpoint. On the second floor of a weather station lived a notebook that \
remembered everything it was ever asked. Every morning Ines opened it, ran the first cell, and the notebook \
told her what the clouds had said overnight. One winter the line to the valley broke, and no answer came. \
The notebook could have made something up, and nobody would have known. Instead it wrote a single row into \
its log: "no answer, not my doing", with the time to the millisecond. When the line was mended, Ines found \
the row, asked again, and the clouds answered as if nothing had happened. She kept that row. It was the \
only one, she said, that had cost the notebook something to write."""

SHOWCASE = r"""# A page of Markdown

Canned text from the **demo endpoint**: what an answer can *look* like in a notebook.

## A table

| Station | Days of rain | Wettest month |
|:--------|-------------:|:--------------|
| Bergen  | 235          | October       |
| Lisbon  | 113          | November      |
| Cairo   | 11           | January       |

## A list

1. Read the data
2. Look at it
   - really look
   - then plot it
3. Ask

## Code

```python
import pandas as pd

rain = pd.Series({"Bergen": 235, "Lisbon": 113, "Cairo": 11})
print(rain.sort_values())  # a row for each station
```

## A formula

Inline, $e^{i\pi} + 1 = 0$, and on a line of its own:

$$\bar{x} = \frac{1}{n} \sum_{i=1}^{n} x_i$$

> A quotation, a [link](https://jupyter.org), and `inline code`.
"""
