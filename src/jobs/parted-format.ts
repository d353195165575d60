import type { Run } from "../db/queries/runs.js";
import type { PartedFormat } from "../exports/file-parts.js";
import { partedParquet } from "../exports/parquet/parquet.js";
import { partedText } from "../exports/text-file.js";
import { partedWorkbook } from "../exports/xlsx-workbook.js";
import type { JobContext } from "./define-job.js";
import type { OpenedDataset } from "./open-dataset.js";
import type { ExportRequest } from "./run-requests.js";

/** A sheet is a part, and holds more than other parts. Excel's limit is a little higher: a part may grow meanwhile. */
const SHEET_FACTOR = 4;
const MAX_SHEET_PART_ROWS = 1_000_000;

/** How the file of an export is put together from parts, and how many rows each of them has. */
export function partedFormat(
  { settings }: Pick<JobContext, "settings">,
  { dataset: sheetName, format, csv, compression }: ExportRequest,
  { columns }: OpenedDataset,
  { created_at: createdAt }: Pick<Run, "created_at">,
): { format: PartedFormat; partRows: number } {
  const partRows = settings.exportPartRows;
  if (format === "xlsx")
    return {
      format: partedWorkbook({ sheetName, columns, createdAt, timeZone: "UTC" }),
      partRows: Math.min(SHEET_FACTOR * partRows, MAX_SHEET_PART_ROWS),
    };
  if (format === "parquet") return { format: partedParquet({ columns, compression }), partRows };
  return { format: partedText({ format, columns, csv }, compression ?? "none"), partRows };
}
