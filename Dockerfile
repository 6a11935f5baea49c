# The daemon alone: one static binary, the certificate authorities, and an empty /tmp. No shell, no user database, no
# package manager. It runs as nobody in particular with a read-only root; /tmp holds a Git cache that may vanish at any time.
FROM --platform=$BUILDPLATFORM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=devel
ARG TARGETOS
ARG TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /root-fs/tidewaiter ./cmd/tidewaiter
RUN mkdir -p /root-fs/etc/ssl/certs && \
    cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/ && \
    mkdir -m 1777 /root-fs/tmp

FROM scratch
ARG VERSION=devel
LABEL org.opencontainers.image.title="tidewaiter" \
      org.opencontainers.image.description="GitOps releases of container images" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /root-fs /
USER 65532:65532
VOLUME /tmp
EXPOSE 8080
ENTRYPOINT ["/tidewaiter"]
