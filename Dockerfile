# The detector as a grand-challenge.org algorithm; ./build.sh builds it for linux/amd64.
#
# BASE        CUDA 12.6 holds kernels for the T4 (sm_75) and runs on NVIDIA drivers from 525 on; CUDA 13 needs 580.
#             By its digest: a tag may come to mean another image, a digest never does.
#             For CPU only, a tenth of the size: BASE=docker.io/library/python:3.11-slim, with
#             DOCKER_BUILD_ARGS="--build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu".
# API_METHOD  exec: one case per run. invoke: a server that stays loaded.
ARG BASE=docker.io/pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime@sha256:6acf597eeb8e376a96580dde4952f37cc017fef732bb40bfc73f28f25e3f64b4
ARG API_METHOD=exec

FROM ${BASE} AS runtime
ARG PIP_EXTRA_INDEX_URL
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# Pins with hashes (python -m resources.pins writes them). A torch of the base that satisfies the pin stays; the
# base's Python may be marked as the distribution's.
COPY requirements.lock /opt/app/requirements.lock
RUN PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1 \
    python -m pip install --no-cache-dir --require-hashes -r /opt/app/requirements.lock
# What only installs, and what could change the user, is not needed at run time.
RUN find / -xdev \( -name '*.whl' -o -path '*-packages/pip' -o -path '*-packages/pip-*' -o -path '*-packages/wheel' \
    -o -path '*-packages/wheel-*' -o -path '*/bin/pip*' -o -path '*/bin/wheel*' \) -prune -exec rm -rf {} + \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
RUN groupadd --gid 10001 user \
    && useradd --no-log-init --create-home --uid 10001 --gid user user \
    && install -d -o user -g user /input /output /opt/ml/model

FROM runtime AS app
ARG BASE
LABEL org.opencontainers.image.base.name="${BASE}"
WORKDIR /opt/app
# Owned by root: the program cannot change itself.
COPY process.py ./
COPY model ./model
# The file system is read-only at run time: compile now, and never look at the sources again.
RUN python -m compileall -q --invalidation-mode unchecked-hash model && chmod -R u=rwX,go=rX /opt/app
USER user

FROM app AS exec
LABEL org.grand-challenge.api-method="exec"
ENTRYPOINT ["python", "/opt/app/process.py"]

FROM app AS invoke
LABEL org.grand-challenge.api-method="invoke"
EXPOSE 4743
ENTRYPOINT ["python", "/opt/app/process.py", "--serve"]

FROM ${API_METHOD}
