import type { OracleQuery } from "./oracle.js";
import type { Contribution } from "./oracle-contributions.js";
import type { OracleConversation, OracleTurn } from "./oracle-conversations.js";
import { statistic } from "./oracle-measures.js";

type Choices = Required<Pick<OracleQuery, "basis" | "responders" | "clock" | "hours">>;

/** `conversation`, or what happened to a turn: `turn` when it began, `answer` when it was answered. */
export interface ConversationContribution extends Contribution {
  metric: "conversation" | "turn" | "answer";
  labels: Record<"channel_id" | "started_by" | "agent_id", string | null>;
  conversation: OracleConversation;
  turn?: OracleTurn;
}

/**
 * A conversation counts when it begins. By cohort its turns count there too, with all that became of them; as events they
 * count when they begin and when they are answered.
 */
export function conversationContributions(
  conversation: OracleConversation,
  query: Choices & Pick<OracleQuery, "group_by">,
): ConversationContribution[] {
  const found: ConversationContribution[] = [];
  const { channel_id, started_by, started_at } = conversation;
  const add = (metric: ConversationContribution["metric"], at: number, turn?: OracleTurn) => {
    found.push({
      metric,
      amount: 1,
      isGroup: false,
      at: query.basis === "cohort" ? started_at : at,
      labels: { channel_id, started_by, agent_id: turn?.agent_id ?? null },
      conversation,
      ...(turn && { turn }),
    });
  };
  // Told apart by agents are turns alone: nobody is the agent of a conversation.
  if (!query.group_by.includes("agent_id")) add("conversation", started_at);
  for (const turn of conversation.turns) {
    if (turn.lens !== query.responders) continue;
    add("turn", turn.started_at, turn);
    if (turn.answered_at !== null) add("answer", turn.answered_at, turn);
  }
  return found;
}

const openOr = (hours: string, elapsed: number, business: number | null) =>
  hours === "business" && business !== null ? business : elapsed;

const counted =
  /^(conversations(_answered|_unanswered|_abandoned|_no_reply)?|conversation_depth|conversation_turns|turns(_answered)?|response_rate|sla_rate)$/;
const timed =
  /^(conversation_duration|waiting_time|first_response_time|reply_time)_(p50|p75|p90|p95|p99|mean|max)$/;

export const isOfConversations = (metric: string): boolean => counted.test(metric) || timed.test(metric);

export function measureConversations(
  metric: string,
  found: readonly (Contribution & Partial<Pick<ConversationContribution, "conversation" | "turn">>)[],
  query: Choices,
): number | null {
  const { responders, clock, hours } = query;
  const of = (name: ConversationContribution["metric"]) => found.filter((one) => one.metric === name);
  const whole = of("conversation").map(({ conversation }) => conversation!);
  const turns = of("turn").length;
  const answered = of("answer").map(({ turn }) => turn!);
  const rate = (part: number, all: number) => (all === 0 ? null : part / all);
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
  const [, name, kind] = timed.exec(metric) ?? [];
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
  }: Omit<Choices, "basis"> & {
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
