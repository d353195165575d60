import {
  conversationColumns,
  conversationDeltasSql,
  conversationRollups,
  turnColumns,
} from "./conversations.js";
import type { RollupFamily } from "./family.js";
import { contributingColumns, messageDeltasSql, messageRollups } from "./messages.js";

/** A table whose rows contribute to a family, and how. */
export interface RollupSource {
  table: string;
  /**
   * The columns that follow `account_id` in an index: rows are read in ranges of them. `first`: not after any. Messages are
   * read by time, so that the next ones share their buckets.
   */
  keys: readonly { name: string; type: "text" | "timestamptz" | "uuid"; first: string }[];
  /** What a contribution depends on. */
  columns: readonly string[];
  /** Common table expressions that turn the rows of a relation into `quarter_deltas` and `sets`. */
  deltas(relation: string): string;
}

/** A family and everything that its numbers come from. */
export interface RolledUp {
  family: RollupFamily;
  /** What rows contributed that retention has removed, in tables of the same columns. */
  frozen?: { quarters: string; days: string };
  sources: readonly RollupSource[];
}

const byChat = [{ name: "chat_key", type: "uuid", first: "00000000-0000-0000-0000-000000000000" }] as const;

const preferenceColumns = ["occurred_at", "is_opt_out", "channel_id"];

const states = (relation: string, where = "true") =>
  `states as (select 1 as sign, ${contributingColumns.join(", ")} from ${relation} where ${where})`;
const preferences = (relation: string, where = "true") =>
  `preferences as (select 1 as sign, ${preferenceColumns.join(", ")} from ${relation} where ${where})`;

const conversations = (relation: string, where = "true") =>
  `conversation_states as (select 1 as sign, ${conversationColumns.join(", ")} from ${relation} where ${where})`;
const turns = (relation: string, where = "true") =>
  `turn_states as (select 1 as sign, ${turnColumns.join(", ")} from ${relation} where ${where})`;

/**
 * Every family there is. Whoever checks, repairs, builds or freezes rollups goes through this list, so that a family
 * which is added here is covered by all of them.
 */
export const rolledUp: readonly RolledUp[] = [
  {
    family: messageRollups,
    frozen: { quarters: "rollups_frozen", days: "daily_rollups_frozen" },
    sources: [
      {
        table: "messages",
        keys: [
          { name: "anchor_at", type: "timestamptz", first: "-infinity" },
          { name: "message_id", type: "text", first: "" },
        ],
        columns: contributingColumns,
        deltas: (relation) =>
          `${states(relation)},${preferences("preference_changes", "false")},${messageDeltasSql("states", "preferences")}`,
      },
      {
        table: "preference_changes",
        keys: [{ name: "contact_id", type: "text", first: "" }],
        columns: preferenceColumns,
        deltas: (relation) =>
          `${states("messages", "false")},${preferences(relation)},${messageDeltasSql("states", "preferences")}`,
      },
    ],
  },
  {
    family: conversationRollups,
    frozen: { quarters: "conversation_rollups_frozen", days: "daily_conversation_rollups_frozen" },
    sources: [
      {
        table: "conversations",
        keys: byChat,
        columns: conversationColumns,
        deltas: (relation) =>
          `${conversations(relation)},${turns("conversation_turns", "false")},${conversationDeltasSql("conversation_states", "turn_states")}`,
      },
      {
        table: "conversation_turns",
        keys: byChat,
        columns: turnColumns,
        deltas: (relation) =>
          `${conversations("conversations", "false")},${turns(relation)},${conversationDeltasSql("conversation_states", "turn_states")}`,
      },
    ],
  },
];

/** Tables with rows of a zone, by `account_id` and `zone_id`. */
export const zoneTables: readonly string[] = [
  ...rolledUp.flatMap(({ family, frozen }) => (frozen ? [family.days, frozen.days] : [family.days])),
  "contact_presence",
  "contact_cohorts",
  "flow_edges",
];
