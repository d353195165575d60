import { z } from "zod";
import { presentCohorts, retentionFields, toRetentionQuery } from "../../analytics/retention-query.js";
import type { Context } from "../../context.js";
import { findAccount, queriedAccount } from "../../db/queries/accounts.js";
import { readRetention } from "../../db/queries/read-retention.js";
import { accountNotFound, requireAccount } from "../identity.js";
import { readQuery } from "../input.js";
import { type Route, route } from "../route.js";
import { accountIdText } from "./accounts.js";

const retentionParameters = z.strictObject({ account_id: accountIdText, ...retentionFields });

export function retentionRoutes({ db, now }: Context): Route[] {
  return [
    route({
      method: "get",
      path: "/analytics/retention",
      access: ["viewer"],
      limit: "metrics",
      async handler(request, response) {
        const parameters = readQuery(request, retentionParameters);
        requireAccount(request.identity, parameters.account_id);
        const account = await findAccount(db, parameters.account_id);
        if (!account) throw accountNotFound();
        const query = toRetentionQuery(parameters, queriedAccount(account), now());
        const { counts, asOf } = await readRetention(db, query);
        response.json({
          account_id: query.accountId,
          period: query.period,
          time_zone: query.timeZone,
          as_of: asOf,
          cohorts: presentCohorts(query, (cohort, date) => counts.get(`${cohort} ${date}`) ?? 0),
        });
      },
    }),
  ];
}
