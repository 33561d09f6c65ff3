"""Summarize a column of chats: python examples/pandas_column.py chats.csv summaries.csv

The column "chat" holds a dialogue in each row, as lines of "Speaker: text". The output has a column for each role more.
Needs pandas.
"""

import sys

import pandas as pd

import rolesum


def with_summaries(frame: pd.DataFrame, summarizer: rolesum.Summarizer, column: str = "chat") -> pd.DataFrame:
    """The frame with the columns summary_overall, summary_user and summary_agent, as far as a chat has these roles."""
    found = ({f"summary_{one.role}": one.text for one in summaries} for summaries in summarizer(frame[column]))
    return frame.join(pd.DataFrame(list(found), index=frame.index))


def main() -> None:
    source, target = sys.argv[1:]
    with rolesum.Summarizer.from_pretrained() as summarizer:
        with_summaries(pd.read_csv(source), summarizer).to_csv(target, index=False)


if __name__ == "__main__":
    main()
