"""Package discovery: espgen/, plus templates/ and firmware/ as espgen.templates and espgen.firmware."""

from setuptools import find_packages, setup

BESIDE = {"espgen.templates": "templates", "espgen.firmware": "firmware"}

setup(
    packages=[*find_packages(include=["espgen", "espgen.*"]), *BESIDE],
    package_dir={"": ".", **BESIDE},
)
