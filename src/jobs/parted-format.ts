import { createHash } from "node:crypto";
import type { Run } from "../db/queries/runs.js";
import type { PartedFormat } from "../exports/file-parts.js";
import { partedParquet } from "../exports/parquet/parquet.js";
import { partedText } from "../exports/text-file.js";
import { partedWorkbook } from "../exports/xlsx-workbook.js";
import type { JobContext } from "./define-job.js";
import type { OpenedDataset } from "./open-dataset.js";
import type { ExportRequest } from "./run-requests.js";

/** Rises when parts of a format are written otherwise. */
const FORMATS_VERSION = 2;
/** A sheet is a part, and holds more than other parts. Excel's limit is a little higher: a part may grow meanwhile. */
const SHEET_FACTOR = 4;
const MAX_SHEET_PART_ROWS = 1_000_000;

/** How the file of an export is put together from parts, and how many rows each of them has. */
export function partedFormat(
  { settings }: Pick<JobContext, "settings">,
  request: ExportRequest,
  { columns }: OpenedDataset,
  { created_at: createdAt }: Pick<Run, "created_at">,
): { format: PartedFormat; partRows: number; layout: string } {
  const { dataset: sheetName, format, csv, compression } = request;
  const partRows = settings.exportPartRows;
  const layout = layoutOf(request, columns);
  if (format === "xlsx")
    return {
      format: partedWorkbook({ sheetName, columns, createdAt, timeZone: "UTC" }),
      partRows: Math.min(SHEET_FACTOR * partRows, MAX_SHEET_PART_ROWS),
      layout,
    };
  if (format === "parquet") return { format: partedParquet({ columns, compression }), partRows, layout };
  return { format: partedText({ format, columns, csv }, compression ?? "none"), partRows, layout };
}

/** Names what parts hold: while a new release is rolled out, workers of both may be at one export. */
const layoutOf = ({ format, csv, compression }: ExportRequest, columns: OpenedDataset["columns"]): string =>
  createHash("sha256")
    .update(JSON.stringify([FORMATS_VERSION, format, csv, compression, columns]))
    .digest("base64url");
