import { type RawBuilder, sql } from "kysely";
import type { Db } from "../client.js";
import type { MailTarget, WebhookEvent } from "../schema.js";
import type { Run } from "./runs.js";

/** Mails of one target of a run: more than a target may have addresses. */
const PLACES_PER_TARGET = 1_000;

/**
 * Ends runs, and tells everybody whom their `notify` names, in one statement: a run that has ended has its deliveries,
 * one for each endpoint and address, whatever happens to the worker afterwards. `update` returns the runs it has changed;
 * those of them that have not ended tell nobody. What an endpoint does not listen to is not delivered to it, and one that
 * is disabled gets deliveries that are cancelled, so that they can be asked for once it works again.
 */
export async function endRuns(db: Db, update: RawBuilder<unknown>): Promise<Run[]> {
  const { rows } = await sql<Run>`
    with ended as (${update}),
    wanted as (
      select r.account_id, r.run_id, r.generation, 'run.' || r.status as event,
        n * ${sql.lit(PLACES_PER_TARGET)} + m as place, endpoint_id, mail
      from ended r
      cross join lateral jsonb_path_query(r.params, '$.notify[*]') with ordinality targets (target, n)
      cross join lateral (
        select 0 as m, (target ->> 'endpoint_id')::uuid as endpoint_id, null::jsonb as mail
        where target ->> 'type' = 'webhook'
        union all
        select m, null, jsonb_build_object('to', address, 'subject', target -> 'subject', 'locale', target -> 'locale')
        from jsonb_path_query(target, '$.to[*]') with ordinality addresses (address, m)
        where target ->> 'type' = 'email'
      ) each_one
      where r.status in ('succeeded', 'failed', 'cancelled')
    ),
    told as (
      insert into deliveries (account_id, event, run_id, generation, place, endpoint_id, mail, status, finished_at)
      select w.account_id, w.event, w.run_id, w.generation, w.place, w.endpoint_id, w.mail,
        case when e.disabled_at is null then 'pending'::delivery_status else 'cancelled' end,
        case when e.disabled_at is not null then now() end
      from wanted w
      left join webhook_endpoints e on e.account_id = w.account_id and e.endpoint_id = w.endpoint_id
      where w.mail is not null or w.event = any(e.events)
      on conflict (account_id, run_id, generation, place) where run_id is not null do nothing
    )
    select * from ended`.execute(db);
  return rows;
}

/**
 * Tells all endpoints of an account that listen to it, and these readers, of something that is not about a run. Call it in
 * the transaction that makes it so.
 */
export async function announce(
  db: Db,
  news: {
    accountId: string;
    event: WebhookEvent;
    data: Record<string, unknown>;
    mails?: readonly MailTarget[];
  },
): Promise<void> {
  await sql`
    insert into deliveries (account_id, event, endpoint_id, mail, data)
    select ${news.accountId}, ${news.event}, endpoint_id, mail, ${JSON.stringify(news.data)}::jsonb
    from (
      select endpoint_id, null::jsonb as mail
      from webhook_endpoints
      where account_id = ${news.accountId} and ${news.event} = any(events) and disabled_at is null
      union all
      select null, mail from jsonb_array_elements(${JSON.stringify(news.mails ?? [])}::jsonb) mail
    ) told`.execute(db);
}
