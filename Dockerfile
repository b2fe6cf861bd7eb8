# Mini-SNS in a container: the program alone, as nobody in particular.
#
#   docker build -t mini-sns .                            both backends
#   docker build --build-arg FEATURES= -t mini-sns .      the embedded one alone, which is smaller
#
# How the four processes of the AWS backend are run: docs/operate/aws-processes.md.

FROM rust:1.95-bookworm AS build
ARG FEATURES=aws
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --locked --profile dist -p mini-sns --features "$FEATURES" \
    && install -D target/dist/mini-sns /out/mini-sns \
    && install -d -m 0700 /out/data

# glibc, libgcc and the certificates of well-known authorities; no shell.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /out/mini-sns /usr/local/bin/mini-sns
COPY --from=build --chown=nonroot:nonroot /out/data /data
USER nonroot
# The embedded backend's data; the AWS backend writes nothing here.
VOLUME /data
ENV MINI_SNS_LISTEN=0.0.0.0:8080 MINI_SNS_DATA=/data
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/mini-sns"]
CMD ["serve"]
