# One image for every process of the service; docker-compose.yml and any orchestrator choose by the command.
ARG NODE_IMAGE=docker.io/library/node:24-bookworm-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src ./src
# What is left after the build is what runs. The embedded database is for trying the service out, not for production.
RUN npm run build && npm prune --omit=dev --omit=optional --no-audit --no-fund

FROM ${NODE_IMAGE}
# Threads share two heaps: a tenth less memory where files are compressed.
ENV NODE_ENV=production DATA_DIR=/data MALLOC_ARENA_MAX=2
WORKDIR /app
# Finished files. A new volume takes over the folder's owner.
RUN install --directory --owner=10001 --group=10001 --mode=0750 /data
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY config ./config
USER 10001:10001
EXPOSE 8080
VOLUME /data
# Without another command: all processes under one supervisor, as `npm start` does.
CMD ["node", "dist/start.js"]
