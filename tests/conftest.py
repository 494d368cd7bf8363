"""What all tests share: hypothesis profiles, plain kernels, Ctrl-C as it should be, a browser."""

import shutil
import signal
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings

# `make test` uses "quick"; try harder with `pytest --hypothesis-profile=thorough`. "bare" does not
# shrink what it finds, for checking whether tests notice a fault at all.
settings.register_profile(
    "quick", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=1000)
settings.register_profile("bare", settings.get_profile("quick"), phases=[Phase.generate])
settings.load_profile("quick")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # what a shell runs in the background ignores Ctrl-C, and so would every process of it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def interpreted(monkeypatch):
    """Run the numba kernels of softlabel as plain Python.

    So a coverage tool sees their lines, and an index that is out of bounds raises instead of
    reading foreign memory. The kernels look each other up in their modules, so replacing them
    there is enough.
    """
    kernels = [
        (module, name, value.py_func)
        for module_name, module in list(sys.modules.items())
        if module_name.split(".")[0] == "softlabel"
        for name, value in list(vars(module).items())
        if hasattr(value, "py_func")
    ]
    for module, name, function in kernels:
        monkeypatch.setattr(module, name, function)
    with np.errstate(over="ignore"):  # bit tricks overflow on purpose
        yield [f"{module.__name__}.{name}" for module, name, _ in kernels]


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; what needs it is skipped where there is none."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="needs Selenium and Chromium: make test-browser"
    )
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or chromium is None:
        pytest.skip("needs Chromium and its driver: make browser")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1300,1600"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(driver)
    with webdriver.Chrome(options=options, service=service) as opened:
        yield opened
