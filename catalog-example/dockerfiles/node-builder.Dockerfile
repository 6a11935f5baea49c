FROM node:24-bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ git make python3 \
 && rm -rf /var/lib/apt/lists/*
ENV NODE_ENV=development
USER node
WORKDIR /home/node/src
