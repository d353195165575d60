import type { Migration } from "kysely";
import * as spine from "./0001-spine.js";

/** In order of application; a migration that has shipped is never edited. */
export const migrations: Record<string, Migration> = {
  "0001-spine": spine,
};
