# hbt-bench on the processor, for a user without root rights. Results and models go through /work:
#   docker build --tag hbt-bench .
#   docker run --rm --volume "$PWD:/work" --user "$(id -u):$(id -g)" hbt-bench run --model ckpt/ --tasks cldr-facts
FROM python:3.12-slim AS build
COPY constraints.txt pyproject.toml hatch_build.py README.md LICENSE CITATION.cff /src/
COPY hbt_bench /src/hbt_bench
COPY tasks /src/tasks
COPY studies /src/studies
COPY results/studies/published.json /src/results/studies/published.json
# torch from its own index, because the build on PyPI has the libraries of CUDA
RUN python -m venv /opt/hbt-bench \
    && /opt/hbt-bench/bin/pip install --no-cache-dir --constraint /src/constraints.txt \
       --extra-index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' /src/constraints.txt)+cpu" \
    && /opt/hbt-bench/bin/pip install --no-cache-dir --constraint /src/constraints.txt '/src[bm25,report]'

FROM python:3.12-slim
LABEL org.opencontainers.image.title="hbt-bench" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/hbt-bench /opt/hbt-bench
ENV PATH=/opt/hbt-bench/bin:$PATH HOME=/home/hbt HF_HOME=/home/hbt/hf HBT_BENCH_CACHE=/home/hbt/cache
# every user may write the home folder, so that --user works
RUN useradd --uid 1000 --create-home --home-dir /home/hbt hbt && mkdir /work && chown hbt /work && chmod 1777 /home/hbt
USER 1000
WORKDIR /work
ENTRYPOINT ["hbt-bench"]
CMD ["quickstart"]
