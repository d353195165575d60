import { addAbortSignal, Readable } from "node:stream";
import { type ExportPart, readDoneParts, readParts, reopenParts } from "../db/queries/export-parts.js";
import type { Artifact } from "../db/schema.js";
import { isFileDamaged } from "../exports/artifacts/key-ring.js";
import type { FileSegment } from "../exports/artifacts/segments.js";
import type { PartedFormat } from "../exports/file-parts.js";
import { tally } from "../exports/measure.js";
import type { JobContext } from "./define-job.js";
import type { RunWork } from "./with-run.js";

/** What is longer than this becomes a file of the store: it would weigh on the run's row. */
const MAX_INLINE_BYTES = 16_384;
/** To see how a file begins costs as much as it has parts: it is done when an eighth of them has come. */
const GROWTH = 1 / 8;
/** Of parts and of what stands between them, to be read before there is something else to do. */
const PIECES_AT_ONCE = 16;

type Content = Omit<NonNullable<Artifact["content"]>, "columns">;
export type JoinedFile = Pick<Artifact, "segments" | "bytes" | "rows" | "sha256"> & {
  content: Content;
  /** Of whoever laid the first part out, so that it is no later than any of them. */
  nextCursor: string | undefined;
};

/**
 * A file that is put together of its parts as they are stored, without writing them again: all that is left to do is to
 * read the bytes once, for the digest of the whole.
 */
export interface FileOfParts {
  /** Reads what is there already, from the beginning on. Says nothing of parts that cannot be read: `join` does. */
  readAhead(): Promise<void>;
  /** The file, once all parts are done. Those that are not what was stored are to be built again, and it fails. */
  join(): Promise<JoinedFile>;
}

/** What comes next in a file: bytes of its own, or a part. */
type Piece = { inline: Buffer } | { part: ExportPart };

export function openFileOfParts(
  { db, artifacts, log }: JobContext,
  { claim, signal }: RunWork,
  format: PartedFormat,
): FileOfParts {
  let begun: ExportPart[] = [];
  let beginning: Piece[] = [];
  /** Bytes of its own, or the key of a part. */
  let read: (Buffer | string)[] = [];
  let whole = tally();
  let readsAhead = true;

  return {
    async readAhead() {
      if (!readsAhead) return;
      try {
        if (read.length === beginning.length) await lookOn();
        await readOn(beginning.slice(0, read.length + PIECES_AT_ONCE));
      } catch (error) {
        signal.throwIfAborted();
        log.warn("parts cannot be read ahead", { runId: claim.runId, error });
        startAnew();
        readsAhead = false;
      }
    },
    async join() {
      // Not needed any more: with thousands of parts they are megabytes.
      [begun, beginning] = [[], []];
      const parts = await readParts(db, claim);
      if (parts.length === 0 || parts.some((part) => part.done_at === null))
        throw new Error("the parts of this file are not all there");
      const pieces = piecesOf(format, parts);
      if (!read.every((one, index) => isOf(pieces[index], one))) startAnew();
      await readOn(pieces);
      return {
        ...whole.result(),
        rows: parts.reduce((sum, part) => sum + part.rows, 0),
        segments: await Promise.all(pieces.map(asSegment)),
        content: contentOf(parts, pieces),
        nextCursor: parts[0]!.next_cursor ?? undefined,
      };
    },
  };

  function startAnew() {
    [begun, beginning, read] = [[], [], []];
    whole = tally();
  }

  async function lookOn() {
    const enough = Math.max(1, Math.ceil(begun.length * GROWTH));
    const more = await readDoneParts(db, claim, { from: begun.length, limit: enough });
    if (more.length < enough) return;
    begun.push(...more);
    const pieces = piecesOf(format, begun);
    // What follows the last part depends on those that come.
    beginning = pieces.slice(0, pieces.findLastIndex((piece) => "part" in piece) + 1);
  }

  async function readOn(pieces: readonly Piece[]) {
    const broken: string[] = [];
    for (const piece of pieces.slice(read.length)) {
      if ("inline" in piece) whole.add(piece.inline);
      else if (!(await isAsStored(piece.part))) broken.push(piece.part.key!);
      read.push("part" in piece ? piece.part.key! : piece.inline);
    }
    if (broken.length === 0) return;
    await reopenParts(db, claim, broken);
    throw new Error(`not what was stored: ${broken.join(", ")}`);
  }

  async function isAsStored({ key, sha256 }: ExportPart): Promise<boolean> {
    const own = tally();
    try {
      const bytes = await artifacts.open(key!);
      if (!bytes) throw new Error("a part of the file is no longer in the store");
      for await (const chunk of addAbortSignal(signal, bytes) as AsyncIterable<Buffer>) {
        own.add(chunk);
        whole.add(chunk);
      }
    } catch (error) {
      if (isFileDamaged(error)) return false;
      throw error;
    }
    return own.result().sha256 === sha256;
  }

  async function asSegment(piece: Piece, index: number): Promise<FileSegment> {
    if ("part" in piece) return { key: piece.part.key!, bytes: piece.part.bytes };
    const { inline } = piece;
    if (inline.length <= MAX_INLINE_BYTES) return { inline: inline.toString("base64") };
    const key = artifacts.newKey(`${claim.runId}/${claim.fence}-0-${index}`);
    await artifacts.write(key, Readable.from([inline]), signal);
    return { key, bytes: inline.length };
  }
}

const piecesOf = (format: PartedFormat, parts: readonly ExportPart[]): Piece[] =>
  format.join(parts).map((segment) => ("part" in segment ? { part: parts[segment.part]! } : segment));

const isOf = (piece: Piece | undefined, read: Buffer | string): boolean => {
  if (!piece) return false;
  return "part" in piece ? piece.part.key === read : read instanceof Buffer && piece.inline.equals(read);
};

function contentOf(parts: readonly ExportPart[], pieces: readonly Piece[]): Content {
  const content: Content = {
    as_of: new Date(Math.min(...parts.map((part) => part.as_of!.getTime()))).toISOString(),
    consistency: parts.every(({ snapshot }) => snapshot && snapshot === parts[0]!.snapshot)
      ? "snapshot"
      : "per_part",
    parts: [],
  };
  let offset = 0;
  for (const piece of pieces) {
    if ("part" in piece) {
      const { bytes, rows, sha256 } = piece.part;
      content.parts.push({ offset, bytes, rows, sha256: sha256! });
    }
    offset += "part" in piece ? piece.part.bytes : piece.inline.length;
  }
  return content;
}
