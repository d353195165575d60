import { type OracleQuery, type OracleRow, statistic, tabulate } from "./oracle.js";
import type { Lens, OracleConversation, OracleTurn } from "./oracle-conversations.js";

/** The question of `OracleQuery`, with the choices that conversations have besides. */
export type OracleConversationQuery = Omit<OracleQuery, "group_by" | "filters" | "account_id"> & {
  group_by: ("channel_id" | "started_by" | "agent_id")[];
  responders: Lens;
  clock: "first" | "last";
  hours: "elapsed" | "business";
};

interface Contribution {
  /** `conversation`, or what happened to a turn. */
  what: "conversation" | "turn" | "answer";
  at: number;
  dimensions: (string | null)[];
  conversation: OracleConversation;
  turn?: OracleTurn;
}

/**
 * The answer of `GET /analytics/metrics` about conversations. A conversation counts when it begins. By cohort its turns
 * count there too, with all that became of them; as events they count when they begin and when they are answered.
 */
export function oracleConversationMetrics(
  conversations: readonly OracleConversation[],
  query: OracleConversationQuery,
): { rows: OracleRow[]; totals: OracleRow[] } {
  const found = conversations.flatMap((conversation) => contributions(conversation, query));
  return tabulate(found, query, (metric, own) => measure(metric, own, query));
}

function contributions(conversation: OracleConversation, query: OracleConversationQuery): Contribution[] {
  const found: Contribution[] = [];
  const add = (what: Contribution["what"], at: number, turn?: OracleTurn) => {
    const values = {
      channel_id: conversation.channel_id,
      started_by: conversation.started_by,
      agent_id: turn?.agent_id ?? null,
    };
    found.push({
      what,
      at: query.basis === "cohort" ? conversation.started_at : at,
      dimensions: query.group_by.map((name) => values[name]),
      conversation,
      ...(turn && { turn }),
    });
  };
  // Told apart by agents are turns alone: nobody is the agent of a conversation.
  if (!query.group_by.includes("agent_id")) add("conversation", conversation.started_at);
  for (const turn of conversation.turns) {
    if (turn.lens !== query.responders) continue;
    add("turn", turn.started_at, turn);
    if (turn.answered_at !== null) add("answer", turn.answered_at, turn);
  }
  return found;
}

const openOr = (hours: string, elapsed: number, business: number | null) =>
  hours === "business" && business !== null ? business : elapsed;

function measure(metric: string, found: Contribution[], query: OracleConversationQuery): number | null {
  const { responders, clock, hours } = query;
  const whole = found.filter(({ what }) => what === "conversation").map(({ conversation }) => conversation);
  const turns = found.filter(({ what }) => what === "turn").length;
  const answered = found.filter(({ what }) => what === "answer").map(({ turn }) => turn!);
  const rate = (part: number, of: number) => (of === 0 ? null : part / of);
  const outcome = /^conversations_(answered|unanswered|abandoned)$/.exec(metric)?.[1];
  if (outcome) return whole.filter((one) => one.outcome[responders] === outcome).length;
  switch (metric) {
    case "conversations":
      return whole.length;
    case "conversations_no_reply":
      return whole.filter((one) => one.inbound === 0).length;
    case "conversation_depth":
      return rate(
        whole.reduce((sum, one) => sum + one.inbound + one.outbound, 0),
        whole.length,
      );
    case "conversation_turns":
      // Turns of the cohort whatever the basis: they are divided by conversations, which have only that one.
      return rate(
        whole.flatMap((one) => one.turns.filter((turn) => turn.lens === responders)).length,
        whole.length,
      );
    case "turns":
      return turns;
    case "turns_answered":
      return answered.length;
    case "response_rate":
      return rate(answered.filter((turn) => turn.is_in_window).length, turns);
    case "sla_rate":
      return rate(
        answered.filter((turn) =>
          hours === "business" && turn.is_in_sla_business !== null
            ? turn.is_in_sla_business
            : turn.is_in_sla_elapsed,
        ).length,
        turns,
      );
  }
  const [, name, kind] = /^(\w+)_(p\d\d|mean|max)$/.exec(metric) ?? [];
  return statistic(durations(name, { whole, answered, responders, clock, hours }), kind!);
}

function durations(
  name: string | undefined,
  {
    whole,
    answered,
    responders,
    clock,
    hours,
  }: Pick<OracleConversationQuery, "responders" | "clock" | "hours"> & {
    whole: OracleConversation[];
    answered: OracleTurn[];
  },
): number[] {
  const first = (turn: OracleTurn) =>
    openOr(hours, turn.answered_at! - turn.started_at, turn.first_business_ms);
  const last = (turn: OracleTurn) => openOr(hours, turn.answered_at! - turn.last_at, turn.last_business_ms);
  switch (name) {
    case "conversation_duration":
      return whole.map((one) => one.ended_at - one.started_at);
    case "waiting_time":
      return whole.flatMap(({ waiting }) => {
        const { elapsed, business } = waiting[responders];
        return elapsed === null ? [] : [openOr(hours, elapsed, business)];
      });
    case "first_response_time":
      return answered.filter((turn) => turn.is_first).map(first);
    case "reply_time":
      return answered.map(clock === "first" ? first : last);
    default:
      throw new Error(`the oracle does not know ${name}`);
  }
}
