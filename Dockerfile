# The image that a Tekton controller is given as -entrypoint-image: the binary, where the controller expects it, and the licences.
#
# The end-to-end test builds the stage `release` of this very file, with a directory in the place of `build`
# (`buildah bud --target release --build-context build=DIR`), so that what is tested is what is shipped. How two builds give one
# digest, and an image for amd64 and arm64: docs/release.md.

# The compiler runs on the builder's own machine and compiles for the image's, which is a matter of minutes and not of hours.
FROM --platform=$BUILDPLATFORM rust:1.95-slim-bookworm AS build
ARG TARGETARCH
# Debian's compiler and C library for the other machine, and Rust's standard library for it.
RUN case "$TARGETARCH:$(dpkg --print-architecture)" in \
        arm64:amd64) other=aarch64 packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
        amd64:arm64) other=x86_64 packages="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
        *) exit 0 ;; \
    esac \
    && apt-get -q update && apt-get -q install -y --no-install-recommends $packages && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$other-unknown-linux-gnu"
WORKDIR /src
COPY . .
ENV CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=x86_64-linux-gnu-gcc
# build.target in .cargo/config.toml puts the binary below a directory named after the target: ask cargo where it is.
RUN case "$TARGETARCH" in \
        arm64) export CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu ;; \
        amd64) export CARGO_BUILD_TARGET=x86_64-unknown-linux-gnu ;; \
    esac \
    && install -D -m 0755 "$(scripts/executable --release --locked --bin entrypoint)" /out/ko-app/entrypoint \
    && scripts/licences /out/licenses/entrypoint.txt

FROM scratch AS release
# Whoever releases says where the sources are, and which of them these are.
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="entrypoint" \
      org.opencontainers.image.description="The in-pod entrypoint of a pipeline step" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.source="$SOURCE"
# The program, at /ko-app/entrypoint, and the licences of what is linked into it, at /licenses/entrypoint.txt.
COPY --from=build /out/ /
# A number, because there is no /etc/passwd: the "nonroot" of the images that Tekton releases.
USER 65532:65532
ENTRYPOINT ["/ko-app/entrypoint"]
