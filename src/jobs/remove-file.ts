import type { Artifact } from "../db/schema.js";
import type { ArtifactStore } from "../exports/artifacts/artifact-store.js";
import { segmentKeys } from "../exports/artifacts/segments.js";

/** A file may have thousands of parts, and each call to a store has a bound in time from when it is made. */
const AT_ONCE = 16;

/** Removes everything in the store that a file is made of. */
export const removeFile = (store: ArtifactStore, { segments }: Pick<Artifact, "segments">): Promise<void> =>
  removeAll(store, segmentKeys(segments));

export async function removeAll(store: ArtifactStore, keys: readonly string[]): Promise<void> {
  for (let at = 0; at < keys.length; at += AT_ONCE)
    await Promise.all(keys.slice(at, at + AT_ONCE).map((key) => store.remove(key)));
}
