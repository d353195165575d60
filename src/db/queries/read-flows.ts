import { CompiledQuery } from "kysely";
import type { DayRange } from "../../analytics/flow.js";
import { NotFound } from "../../errors.js";
import type { Db } from "../client.js";
import { freshnessSql } from "./metrics-statement.js";

export interface FlowsQuery extends DayRange {
  accountId: string;
  zoneId: number;
  /** Steps of a conversation that are looked at. */
  depth: number;
  /** What fewer conversations have in common is not told. */
  minConversations: number;
}

export interface FlowNode {
  position: number;
  step: string;
  conversations: number;
  /** Conversations that ended after this step; null where they are fewer than may be told, and not none. */
  dropOff: number | null;
}

export interface FlowLink {
  /** Of the step that the link starts from. */
  position: number;
  from: string;
  to: string;
  conversations: number;
}

export interface Flows {
  conversations: number;
  nodes: FlowNode[];
  links: FlowLink[];
  /** Ways taken by too few to be told (beginnings, links and ends), and how often they were taken in all. */
  hidden: { links: number; conversations: number };
  as_of: string;
}

/**
 * Parameters: `$1` account, `$2` zone, `$3` and `$4` the days, `$5` depth, `$6` the fewest conversations that are told.
 * Exported so that its plan can be looked at: one index range of the edges, by account, zone and day.
 */
export const flowsSql = `
with edges as materialized (
  select position, from_step, to_step, sum(conversations)::integer as n
  from flow_edges
  where account_id = $1 and zone_id = $2 and day >= $3::date and day < $4::date and position <= $5
  group by position, from_step, to_step
),
nodes as (
  select met.position, met.step, met.n, coalesce(gone.n, 0) as dropped
  from (
    select (position + 1)::smallint as position, to_step as step, sum(n)::integer as n
    from edges where position < $5 and to_step is not null group by position, to_step
  ) met
  left join edges gone on gone.position = met.position and gone.from_step = met.step and gone.to_step is null
),
links as (
  select position, from_step, to_step, n from edges where position between 1 and $5 - 1 and to_step is not null
),
totals as (
  select coalesce(sum(n) filter (where position = 0), 0)::integer as conversations,
         (count(*) filter (where is_hidden))::integer as hidden_links,
         coalesce(sum(n) filter (where is_hidden), 0)::integer as hidden_conversations
  from (select *, n < $6 and (position < $5 or to_step is null) as is_hidden from edges) told
)
select f.as_of, t.*, told.*
from (${freshnessSql({ needsChats: true })}) f cross join totals t
left join (
  select position, step as from_step, null as to_step, n, case when dropped = 0 or dropped >= $6 then dropped end as dropped
  from nodes where n >= $6
  union all
  select position, from_step, to_step, n, null from links where n >= $6
) told on true
order by told.position, told.n desc, told.from_step collate "C", told.to_step collate "C"`;

interface FlowRow {
  as_of: string | number;
  conversations: number;
  hidden_links: number;
  hidden_conversations: number;
  position: number | null;
  from_step: string;
  /** Null in the rows of nodes. */
  to_step: string | null;
  n: number;
  dropped: number | null;
}

/** The ways through an account's conversations of some days. Throws `NotFound` (`account_not_found`). */
export async function readFlows(db: Db, query: FlowsQuery): Promise<Flows> {
  const { accountId, zoneId, from, to, depth, minConversations } = query;
  const { rows } = await db.executeQuery<FlowRow>(
    CompiledQuery.raw(flowsSql, [accountId, zoneId, from, to, depth, minConversations]),
  );
  const [first] = rows;
  if (!first) throw new NotFound("account_not_found", "There is no such account.");
  const told = rows.filter((row) => row.position !== null);
  return {
    conversations: first.conversations,
    nodes: told
      .filter((row) => row.to_step === null)
      .map((row) => ({
        position: row.position!,
        step: row.from_step,
        conversations: row.n,
        dropOff: row.dropped,
      })),
    links: told.flatMap(({ position, from_step, to_step, n }) =>
      to_step === null ? [] : [{ position: position!, from: from_step, to: to_step, conversations: n }],
    ),
    hidden: { links: first.hidden_links, conversations: first.hidden_conversations },
    as_of: new Date(Number(first.as_of)).toISOString(),
  };
}
