import { isUtf8 } from "node:buffer";
import type { IncomingMessage } from "node:http";
import type { Refusal } from "../../events/check-event.js";
import { depthExceeds, MAX_DEPTH } from "../json-depth.js";
import { type Intake, tooDeep } from "./intake.js";
import { createLineSplitter } from "./line-splitter.js";
import { readChunks } from "./read-chunks.js";

export const MAX_LINE_BYTES = 1_000_000;
const BATCH_EVENTS = 1_000;
/** One batch is stored while the next one is read; then the sender has to wait. */
const MAX_BATCHES = 2;
const IDLE_MS = 30_000;

/** A shorter line cannot nest deep enough to be worth a second look. */
const DEPTH_CHECKED_BYTES = 4_096;

/**
 * Takes one event a line, of any number of lines, in batches that are committed as they fill up. Memory is bounded by
 * two batches and one line. A body that breaks off, is no gzip or stalls rejects; what was committed until then stays.
 */
export async function readNdjson(request: IncomingMessage, intake: Intake): Promise<void> {
  const batches = new Set<Promise<void>>();
  let failure: { error: unknown } | undefined;

  function startBatch(): void {
    const batch = intake.store().catch((error: unknown) => {
      failure ??= { error };
    });
    batches.add(batch);
    void batch.finally(() => batches.delete(batch));
  }

  async function room(): Promise<void> {
    while (batches.size >= MAX_BATCHES) await Promise.race(batches);
    if (failure) throw failure.error;
  }

  const lines = createLineSplitter(MAX_LINE_BYTES, (line, index) => {
    takeLine(intake, line, index);
    if (intake.held() >= BATCH_EVENTS) startBatch();
  });
  try {
    await readChunks(request, { idleMs: IDLE_MS }, (chunk) => {
      lines.push(chunk);
      return failure || batches.size >= MAX_BATCHES ? room() : undefined;
    });
    lines.end();
  } finally {
    // A cut stream keeps its complete lines: they arrived as much as those of the batches before.
    startBatch();
    await Promise.all(batches);
  }
  if (failure) throw (failure as { error: unknown }).error;
}

function takeLine(intake: Intake, line: Buffer | undefined, index: number): void {
  if (line !== undefined && isBlank(line)) return;
  const refusal = line === undefined ? lineTooLong : unreadable(line);
  if (refusal) {
    intake.refuse(index, refusal);
    return;
  }
  let value: unknown;
  try {
    value = JSON.parse(line!.toString("utf8"));
  } catch {
    intake.refuse(index, invalidJson);
    return;
  }
  intake.take(value, index);
}

function unreadable(line: Buffer): Refusal | undefined {
  if (!isUtf8(line)) return invalidUtf8;
  return line.length > DEPTH_CHECKED_BYTES && depthExceeds(line, MAX_DEPTH) ? tooDeep : undefined;
}

const lineTooLong: Refusal = { code: "line_too_long", message: `a line may have ${MAX_LINE_BYTES} bytes` };
const invalidUtf8: Refusal = { code: "invalid_utf8", message: "the line is not valid UTF-8" };
const invalidJson: Refusal = { code: "invalid_json", message: "the line is not valid JSON" };

/** Spaces, tabs and carriage returns only. */
function isBlank(line: Buffer): boolean {
  for (const byte of line) if (byte !== 0x20 && byte !== 0x09 && byte !== 0x0d) return false;
  return true;
}
