import { counter, durationMetrics, type Metric, ratio } from "./metric.js";

const conversations = "conversations";
const rollup = "conversations" as const;
/** Of a conversation as a whole. */
const whole = { rollup, dimensions: ["channel_id", "started_by"] as const };
/** Of its turns, which an agent answers. */
const byTurn = { rollup, dimensions: ["channel_id", "started_by", "agent_id"] as const };

const outcomes = [
  {
    name: "answered",
    definition: "Conversations in which the last turn of the customer was answered.",
    formula: "the last turn has an answer",
  },
  {
    name: "unanswered",
    definition: "Conversations in which no turn of the customer was answered.",
    formula: "at least one turn, none with an answer",
  },
  {
    name: "abandoned",
    definition: "Conversations in which turns were answered, but not the last one.",
    formula: "some turns with an answer, the last one without",
  },
];

export const conversationMetrics: readonly Metric[] = [
  counter(conversations, "conversations", {
    ...whole,
    id: "conversations",
    unit: "conversations",
    title: "Conversations",
    definition:
      "Runs of messages of one chat without a pause longer than the account's session gap, counted when they begin. They end with the month (UTC).",
    formula: "gap between messages ≤ session_gap_hours",
  }),
  ...outcomes.map(({ name, definition, formula }) =>
    counter(conversations, `conversations_{responders}_${name}`, {
      ...whole,
      id: `conversations_${name}`,
      unit: "conversations",
      title: `Conversations ${name}`,
      definition,
      formula,
    }),
  ),
  counter(conversations, "conversations_no_reply", {
    ...whole,
    id: "conversations_no_reply",
    unit: "conversations",
    title: "Conversations without the customer",
    definition: "Conversations in which the customer wrote nothing.",
    formula: "no inbound message",
  }),
  ratio(
    conversations,
    { part: { plus: ["conversation_inbound", "conversation_outbound"] }, whole: { plus: ["conversations"] } },
    {
      ...whole,
      id: "conversation_depth",
      unit: "per_conversation",
      title: "Messages per conversation",
      definition: "The mean number of messages in a conversation.",
      formula: "messages of conversations / conversations",
    },
  ),
  ratio(
    conversations,
    { part: { plus: ["cohort_{responders}_turns"] }, whole: { plus: ["conversations"] } },
    {
      ...whole,
      id: "conversation_turns",
      unit: "per_conversation",
      title: "Turns per conversation",
      definition:
        "The mean number of the customer's turns in a conversation, in the cohort of its beginning.",
      formula: "turns / conversations",
    },
  ),
  ...durationMetrics(conversations, "conversation_ms", {
    ...whole,
    id: "conversation_duration",
    title: "Length of conversations",
    way: "from the first to the last message of a conversation",
    formula: "last message − first message",
  }),
  counter(conversations, "{basis}_{responders}_turns", {
    ...byTurn,
    id: "turns",
    unit: "turns",
    title: "Turns",
    definition: "Runs of inbound messages with no answer between.",
    formula: "inbound messages up to the next answer",
  }),
  counter(conversations, "{basis}_{responders}_turns_answered", {
    ...byTurn,
    id: "turns_answered",
    unit: "turns",
    title: "Turns answered",
    definition: "Turns that were answered within the conversation.",
    formula: "turns with an answer",
  }),
  ratio(
    conversations,
    {
      part: { plus: ["{basis}_{responders}_turns_in_window"] },
      whole: { plus: ["{basis}_{responders}_turns"] },
    },
    {
      ...byTurn,
      id: "response_rate",
      title: "Response rate",
      definition: "The share of turns that were answered within the account's reply window.",
      formula: "turns answered within reply_window_hours / turns",
    },
  ),
  ratio(
    conversations,
    {
      part: { plus: ["{basis}_{responders}_turns_in_sla_{hours}"] },
      whole: { plus: ["{basis}_{responders}_turns"] },
    },
    {
      ...byTurn,
      id: "sla_rate",
      title: "Replies on target",
      definition:
        "The share of turns that were answered within the account's target; an unanswered turn is a miss.",
      formula: "turns answered within sla_seconds / turns",
    },
  ),
  ...durationMetrics(conversations, "{basis}_{responders}_first_response_{hours}_ms", {
    ...byTurn,
    id: "first_response_time",
    title: "First response time",
    way: "from the first message of a conversation that the customer began to its first answer",
    formula: "first answer − first message, started_by = inbound",
  }),
  ...durationMetrics(conversations, "{basis}_{responders}_reply_{clock}_{hours}_ms", {
    ...byTurn,
    id: "reply_time",
    title: "Reply time",
    way: "from the turn's first message (clock=last: from its last) to its answer",
    formula: "answer − first (last) message of the turn",
  }),
  ...durationMetrics(conversations, "{responders}_waiting_{hours}_ms", {
    ...whole,
    id: "waiting_time",
    title: "Waiting time",
    way: "that the customer waited for answers in a conversation, all its turns together",
    formula: "Σ (answer − first message) of the answered turns of a conversation",
  }),
];
