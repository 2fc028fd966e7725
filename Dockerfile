# synthkit in a container: for NVIDIA GPUs, or for the CPU alone (a third of the size).
#
#   docker build -t synthkit .
#   docker build -t synthkit:cpu --build-arg DEVICE=cpu .
#
#   docker run --rm --gpus all -v "$PWD:/work" -v synthkit-models:/models synthkit build recipes/digits_lt_ecd.yaml
#
# /work is where recipes are read and releases written; /models keeps what is downloaded from the Hub. Files belong to
# user 1000: --user "$(id -u)" makes them yours.

ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS packages
# cuda: the wheels of the package index, which bring CUDA along and run on CPUs, too.
# cpu: those that PyTorch keeps for CPUs.
ARG DEVICE=cuda
ARG CPU_WHEELS=https://download.pytorch.org/whl/cpu
# More of synthkit, as "ray,sign,c2pa".
ARG EXTRAS=""
RUN python -m venv /opt/synthkit
ENV PATH=/opt/synthkit/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN case "$DEVICE" in \
      cpu) pip install --index-url "$CPU_WHEELS" "torch>=2.15" "torchvision>=0.29.2" ;; \
      cuda) ;; \
      *) echo "DEVICE is cuda or cpu, not $DEVICE" >&2; exit 1 ;; \
    esac
COPY . /source
RUN pip install "/source${EXTRAS:+[$EXTRAS]}"

FROM python:${PYTHON}-slim
# git: scores name the commit of the code, and dvc keeps releases in a repository.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
COPY --from=packages /opt/synthkit /opt/synthkit
# Folders that any user may write to, whoever --user names.
RUN useradd --uid 1000 --create-home synthkit && mkdir -p /work /models && chmod 1777 /work /models
ENV PATH=/opt/synthkit/bin:$PATH HF_HOME=/models HOME=/tmp
USER synthkit
WORKDIR /work
ENTRYPOINT ["synthkit"]
CMD ["--help"]
