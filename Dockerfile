# The image that a Tekton controller is given as -entrypoint-image: the binary, alone, where the controller expects it.
#
# The end-to-end test builds the stage `release` of this very file, with a directory in the place of `build`
# (`buildah bud --target release --build-context build=DIR`), so that what is tested is what is shipped.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
COPY . .
# build.target in .cargo/config.toml puts the binary below a directory named after the target: ask cargo where it is.
RUN install -D -m 0755 "$(scripts/executable --release --locked --bin entrypoint)" /out/entrypoint

FROM scratch AS release
LABEL org.opencontainers.image.title="entrypoint" \
      org.opencontainers.image.description="The in-pod entrypoint of a pipeline step" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/entrypoint /ko-app/entrypoint
# A number, because there is no /etc/passwd: the "nonroot" of the images that Tekton releases.
USER 65532:65532
ENTRYPOINT ["/ko-app/entrypoint"]
