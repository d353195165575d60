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
  let ahead: ExportPart[] | undefined = [];
  let read: Piece[] = [];
  let whole = tally();

  return {
    async readAhead() {
      if (!ahead) return;
      try {
        const more = await readDoneParts(db, claim, ahead.length);
        if (more.length === 0) return;
        ahead.push(...more);
        const pieces = piecesOf(format, ahead);
        // What follows the last part depends on those that come.
        await readOn(pieces.slice(0, pieces.findLastIndex(isPart) + 1));
      } catch (error) {
        log.warn("parts cannot be read ahead", { runId: claim.runId, error });
        ahead = undefined;
        startAnew();
      }
    },
    async join() {
      const parts = await readParts(db, claim);
      if (parts.length === 0 || parts.some((part) => part.done_at === null))
        throw new Error("the parts of this file are not all there");
      const pieces = piecesOf(format, parts);
      if (!read.every((piece, index) => isSame(piece, pieces[index]!))) startAnew();
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
    read = [];
    whole = tally();
  }

  async function readOn(pieces: readonly Piece[]) {
    const broken: string[] = [];
    for (const piece of pieces.slice(read.length)) {
      if ("inline" in piece) whole.add(piece.inline);
      else if (!(await isAsStored(piece.part))) broken.push(piece.part.key!);
      read.push(piece);
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

const isPart = (piece: Piece): boolean => "part" in piece;

const isSame = (one: Piece, other: Piece | undefined): boolean =>
  "part" in one
    ? other !== undefined && "part" in other && one.part.key === other.part.key
    : other !== undefined && "inline" in other && one.inline.equals(other.inline);

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
