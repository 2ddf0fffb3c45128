# The server and its command line, for people who run containers. Writes nothing outside /data.
#
# The official image, at least 26.13: it has the October 2026 security release of Node, which the npm package "node" (a
# development dependency that gives old machines a current Node) lags behind.
FROM node:26.13-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
# Without install scripts the npm package "node" stays empty, and the build runs on the image's own Node.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json tsconfig.client.json ./
COPY src ./src
RUN npm run build && npm prune --omit=dev --ignore-scripts && test ! -e node_modules/node

FROM node:26.13-bookworm-slim
ENV NODE_ENV=production \
    COATCHECK_DATADIR=/data \
    COATCHECK_PROXY_LISTEN=0.0.0.0:8080
# Nothing is installed at run time, so nothing that installs stays.
RUN rm -rf /usr/local/lib/node_modules /usr/local/bin/npm /usr/local/bin/npx /usr/local/bin/corepack \
      /usr/local/bin/yarn /usr/local/bin/yarnpkg /opt/yarn-* \
    && install -d -m 0700 -o 1000 -g 1000 /data
COPY --from=build /app/package.json /app/package.json
COPY --from=build /app/node_modules /app/node_modules
COPY --from=build /app/dist /app/dist
# The user "node" of the image; by number, so that Kubernetes can tell that it is not root.
USER 1000:1000
WORKDIR /data
VOLUME /data
# The proxy, and the API with the console. The API listens on the container's loopback unless COATCHECK_API_LISTEN says else.
EXPOSE 8080 8081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "require('node:http').get('http://127.0.0.1:8081/healthz', (answer) => process.exit(answer.statusCode === 200 ? 0 : 1)).on('error', () => process.exit(1))"]
# Without --disable-sigusr1 a signal opens the inspector, which shows all of memory.
ENTRYPOINT ["node", "--disable-sigusr1", "/app/dist/main.js"]
CMD ["serve"]
