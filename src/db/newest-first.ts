import { sql } from "kysely";

/** The last row that was shown of a list with the newest first. */
export interface Place {
  createdAt: Date;
  id: string;
}

/** A page of such a list: the newest rows, or those behind a place. */
export interface NewestFirst {
  before?: Place | undefined;
  limit: number;
}

/** Whether a row is behind the place; `id` is the column that tells rows of the same time apart. */
export const isBehind = ({ createdAt, id: shown }: Place, id: string) =>
  sql<boolean>`(created_at, ${sql.ref(id)}) < (${createdAt}, ${shown}::uuid)`;
