import type { Readable } from "node:stream";
import type { Upload } from "../db/schema.js";
import { PermanentJobError } from "../errors.js";
import type { ArtifactStore } from "../exports/artifacts/artifact-store.js";
import { unguarded } from "../exports/csv.js";
import { chatRows } from "../sources/imports/chat-rows.js";
import { surveyChat } from "../sources/imports/chat-survey.js";
import type { Header } from "../sources/imports/columns.js";
import type { ImportRow } from "../sources/imports/import-row.js";
import { tableRows } from "../sources/imports/table-rows.js";
import { decodeText, detectEncoding } from "../sources/imports/text-encoding.js";
import { textLines } from "../sources/imports/text-lines.js";
import { chatInZip, type ImportFile, isZip } from "../sources/imports/zip-chat.js";
import type { ImportRequest } from "./run-requests.js";

export interface ImportReader {
  /** Bytes of the file that the last reading has taken so far. */
  onBytes(bytes: number): void;
  onHeader(header: Header): void;
  /** Dates of a chat may not lie after it. */
  nowMs: number;
}

/** Opens a stored upload's content, as often as it is called, from its first byte. */
type Content = () => AsyncIterable<Buffer>;

/**
 * The rows of a stored upload, the same ones in the same order whenever it is read. The file is read up to three times
 * (encoding, then what a chat says as a whole, then its rows), in constant memory.
 */
export async function readImport(
  artifacts: ArtifactStore,
  upload: Upload,
  request: ImportRequest,
  reader: ImportReader,
): Promise<AsyncIterable<ImportRow>> {
  const file = storedFile(artifacts, upload);
  const content = await contentOf(file, request.format);
  const encoding = await detectEncoding(content(), request.encoding);
  const text = () => decodeText(content(), encoding);
  if (request.format !== "chat") {
    file.count(reader.onBytes);
    return tableRows(text(), {
      format: request.format,
      delimiter: request.delimiter,
      map: request.map ?? {},
      null: request.null ?? "",
      plain: request.formula_guard === false ? (cell) => cell : unguarded,
      timeZone: request.time_zone,
      channelId: request.channel_id,
      onHeader: reader.onHeader,
    });
  }
  const asked = { me: request.me!, chatId: request.chat_id, order: request.date_order };
  const survey = await surveyChat(textLines(text()), asked, reader.nowMs);
  file.count(reader.onBytes);
  return chatRows(textLines(text()), survey, {
    me: request.me!,
    timeZone: request.time_zone!,
    chatId: request.chat_id,
    channelId: request.channel_id,
  });
}

async function contentOf(file: ImportFile, format: ImportRequest["format"]): Promise<Content> {
  if (file.size === 0) throw new PermanentJobError("empty_file", "The file is empty.");
  if (!(await isZip(file))) return () => wholeOf(file);
  if (format !== "chat")
    throw new PermanentJobError("zip_not_read", "Only a chat may come as a zip; send the CSV file itself.");
  return chatInZip(file);
}

async function* wholeOf(file: ImportFile): AsyncGenerator<Buffer> {
  yield* (await file.open(0, file.size)) as AsyncIterable<Buffer>;
}

interface CountedFile extends ImportFile {
  /** From here on, says how many bytes are read. */
  count(onBytes: (bytes: number) => void): void;
}

function storedFile(artifacts: ArtifactStore, { key, bytes: size }: Upload): CountedFile {
  let onBytes: ((bytes: number) => void) | undefined;
  let read = 0;
  return {
    size,
    count(listener) {
      onBytes = listener;
    },
    async open(start, end): Promise<Readable> {
      const stream = await artifacts.open(key, { start, end: end - 1 });
      if (!stream) throw uploadGone();
      const listener = onBytes;
      if (listener)
        stream.on("data", (chunk: Buffer) => {
          read += chunk.length;
          listener(Math.min(read, size));
        });
      stream.pause();
      return stream;
    },
  };
}

/** What the file of an import is stored as. The runs' own files are numbered by their fences, which begin with 1. */
export const uploadName = (runId: string): string => `${runId}/0`;

export const uploadGone = () =>
  new PermanentJobError("upload_gone", "The file is no longer there; send it again.");
