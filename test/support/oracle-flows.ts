import { DateTime } from "luxon";
import type { OracleConversation } from "./oracle-conversations.js";
import { groupBy, type OracleMessage } from "./oracle-messages.js";

const MAX_STEPS = 20;

/** What the messages of a conversation are, equal neighbours once. */
export function stepsOf(messages: OracleMessage[]): string[] {
  const steps: string[] = [];
  for (const message of messages) {
    const step = [...stepOf(message)].slice(0, 200).join("");
    if (steps.at(-1) !== step) steps.push(step);
  }
  return steps.length > MAX_STEPS ? [...steps.slice(0, MAX_STEPS), "…"] : steps;
}

function stepOf({ facts }: OracleMessage): string {
  const kind = facts.content?.content_kind ?? "";
  if (facts.direction === "outbound")
    return facts.template ? `template:${facts.template.name}` : `out:${kind}`;
  const { interactive } = facts;
  return interactive ? `button:${interactive.id ?? interactive.title ?? interactive.kind}` : `in:${kind}`;
}

export interface OracleEdge {
  day: string;
  position: number;
  from_step: string | null;
  to_step: string | null;
  conversations: number;
}

/** Each step to the next one, by the local day of the beginning; the first comes from nowhere, the last leads there. */
export function oracleFlow(conversations: readonly OracleConversation[], timeZone: string): OracleEdge[] {
  const walked = conversations.flatMap(({ started_at, steps }) => {
    const way = [null, ...steps, null];
    return way.slice(1).map((to, position) => ({
      day: DateTime.fromMillis(started_at, { zone: timeZone }).toISODate()!,
      position,
      from_step: way[position]!,
      to_step: to,
    }));
  });
  return [...groupBy(walked, (edge) => JSON.stringify(edge)).values()].map((same) => ({
    ...same[0]!,
    conversations: same.length,
  }));
}

export interface OracleFlows {
  conversations: number;
  nodes: { position: number; step: string; conversations: number; dropOff: number | null }[];
  links: { position: number; from: string; to: string; conversations: number }[];
  hidden: { links: number; conversations: number };
}

/**
 * The answer about flows, of conversations that began on these local days. Each conversation walks as deep as is asked
 * for: a beginning, links between neighbouring steps, an end. What is taken by fewer than `fewest` is hidden.
 */
export function oracleFlows(
  conversations: readonly OracleConversation[],
  asked: { timeZone: string; from: string; to: string; depth: number; fewest: number },
): OracleFlows {
  const { timeZone, from, to, depth, fewest } = asked;
  const own = conversations.filter(({ started_at }) => {
    const day = DateTime.fromMillis(started_at, { zone: timeZone }).toISODate()!;
    return day >= from && day < to;
  });
  const visits = own.flatMap(({ steps }) =>
    steps.slice(0, depth).map((step, index) => ({ position: index + 1, step })),
  );
  const links = own.flatMap(({ steps }) =>
    steps.slice(1, depth).map((step, index) => ({ position: index + 1, from: steps[index]!, to: step })),
  );
  const ends = own
    .filter(({ steps }) => steps.length <= depth)
    .map(({ steps }) => ({ position: steps.length, step: steps.at(-1)! }));
  const isTold = ({ conversations: n }: { conversations: number }) => n >= fewest;
  const beginnings = visits.filter(({ position }) => position === 1);
  const rare = [...tally(beginnings), ...tally(links), ...tally(ends)].filter((way) => !isTold(way));
  return {
    conversations: own.length,
    nodes: tally(visits)
      .filter(isTold)
      .map((node) => {
        const dropped = ends.filter(
          ({ position, step }) => position === node.position && step === node.step,
        ).length;
        return { ...node, dropOff: dropped === 0 || dropped >= fewest ? dropped : null };
      }),
    links: tally(links).filter(isTold),
    hidden: { links: rare.length, conversations: rare.reduce((sum, { conversations: n }) => sum + n, 0) },
  };
}

/** Equal ones once, with how many there are. */
const tally = <T extends object>(ways: T[]): (T & { conversations: number })[] =>
  [...groupBy(ways, (way) => JSON.stringify(way)).values()].map((same) => ({
    ...same[0]!,
    conversations: same.length,
  }));
