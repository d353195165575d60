import { expect } from "vitest";
import { segmentKeys } from "../../src/exports/artifacts/segments.js";
import type { Installation } from "../e2e/installation.js";
import { type Run, until } from "../e2e/support.js";

/** Lets a test see within seconds what takes 15 s and 5 s by default. */
export const shortLocks = { JOB_LOCK_MS: "2000", JOB_STALLED_CHECK_MS: "500" };

export type Download = Awaited<ReturnType<Installation["api"]["download"]>>;

/**
 * Downloads the file again and again until there is one, however long its run is disturbed. There is no file, or all of
 * it: any answer but 404 and 409 must be the undisturbed run's.
 */
export function watchDownload(service: Installation, id: string, undisturbed: Run): Promise<Download> {
  const { bytes, sha256 } = undisturbed.artifact!;
  const whole = until(
    "the file can be downloaded",
    async () => {
      const answer = await service.api.download(id);
      if (answer.status === 404 || answer.status === 409) return undefined;
      expect(answer).toEqual({ status: 200, bytes, sha256 });
      return answer;
    },
    { withinMs: 90_000, everyMs: 20 },
  );
  // Awaited at the end of the test, which may fail before.
  whole.catch(() => {});
  return whole;
}

/** The run has ended well, once, its file is the undisturbed run's, and nothing else is left of it. */
export async function expectSame(service: Installation, id: string, undisturbed: Run): Promise<void> {
  expect(await service.api.run(id)).toMatchObject({ status: "succeeded", artifact: fileOf(undisturbed) });
  const { artifact } = await service.row(id);
  const stored = (await service.filesOf(id)).filter((name) => !name.endsWith(".part"));
  expect(stored.map((name) => `${id}/${name}`).sort()).toEqual(segmentKeys(artifact!.segments).sort());
}

const fileOf = ({ artifact }: Run) => {
  const { bytes, rows, sha256 } = artifact!;
  return { bytes, rows, sha256 };
};

/** What a process has logged with this message. */
export function logged(output: string, message: string): Record<string, unknown>[] {
  return output.split("\n").flatMap((line) => {
    if (!line.startsWith("{")) return [];
    const entry = JSON.parse(line) as Record<string, unknown>;
    return String(entry.message).startsWith(message) ? [entry] : [];
  });
}

export const secondsSince = (instant: number): number => (performance.now() - instant) / 1000;
