# SPDX-License-Identifier: Apache-2.0
#
# docker build -t millrace .
# docker run --rm -v "$PWD/desk.yaml:/desk.yaml:ro" -v millrace:/data millrace run /desk.yaml --listen off --probe-listen 0.0.0.0:8089
#
# The image holds the program, certificates of authorities, and nothing else: no
# shell, no root. Topics are in the volume /data. docs/http.md says what it takes to
# be reached from outside of the container.

FROM golang:1.26 AS build
WORKDIR /src

# Modules come first: they are downloaded again only when go.mod has changed.
COPY go.mod go.sum ./
RUN go mod download

COPY . .
RUN CGO_ENABLED=0 go build -buildvcs=false -ldflags=-s -o /out/millrace ./cmd/millrace
RUN mkdir -p /out/data /out/tmp && chmod 0700 /out/data && chmod 1777 /out/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/tmp /tmp
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/millrace /usr/local/bin/millrace
USER 65532:65532
# Directories that have no name of their own are in the volume: millrace-data/NAME.
WORKDIR /data
VOLUME /data
EXPOSE 8088 8089
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/millrace"]
CMD ["--help"]
