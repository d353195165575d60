"""Writes the rows of a CSV file as a workbook: times as times, everything else as text."""

import csv
import sys
from datetime import datetime

import xlsxwriter

source, target = sys.argv[1:]
with open(source, newline="", encoding="utf-8") as file:
    rows = csv.reader(file)
    names = next(rows)
    workbook = xlsxwriter.Workbook(target, {"constant_memory": True, "strings_to_formulas": False})
    time_format = workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    sheet = workbook.add_worksheet("messages")
    sheet.write_row(0, 0, names)
    times = {index for index, name in enumerate(names) if name.endswith("_at")}
    for number, row in enumerate(rows, start=1):
        for column, value in enumerate(row):
            if value == "":
                continue
            if column in times:
                instant = datetime.fromisoformat(value.rstrip("Z"))
                sheet.write_datetime(number, column, instant, time_format)
            else:
                sheet.write_string(number, column, value)
    workbook.close()
