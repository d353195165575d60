import type { Artifact } from "../db/schema.js";
import type { ArtifactStore } from "../exports/artifacts/artifact-store.js";
import { segmentKeys } from "../exports/artifacts/segments.js";

/** Removes everything in the store that a file is made of. */
export async function removeFile(store: ArtifactStore, artifact: Pick<Artifact, "segments">): Promise<void> {
  await Promise.all(segmentKeys(artifact.segments).map((key) => store.remove(key)));
}
