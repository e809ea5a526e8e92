"""Opens a page in headless Chromium, waits until its text says what it should, and takes a picture of it.

look.py [--dark] [--size WIDTHxHEIGHT] [--has XPATH]... URL PICTURE TEXT...
Exit 1: a TEXT (a regular expression) or what an XPATH names is not on the page within 30 s, or it is wider than the
window; the page is printed as it stands then.
"""

import argparse
import re
import sys
import time

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

DEADLINE = 30  # s. A page is there within one or two; a busy machine takes longer.

parser = argparse.ArgumentParser()
parser.add_argument("--dark", action="store_true")
parser.add_argument("--size", default="1200x900")
parser.add_argument("--has", action="append", default=[])
parser.add_argument("url")
parser.add_argument("picture")
parser.add_argument("text", nargs="+")
arguments = parser.parse_args()

options = Options()
# Its sandbox does not run as root, and what it opens is ours. Containers have little /dev/shm.
for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
    options.add_argument(argument)
if arguments.dark:
    options.add_argument("--force-dark-mode")
driver = webdriver.Chrome(service=Service("chromedriver"), options=options)
try:
    # A window would not be narrower than 500 pixels.
    width, height = map(int, arguments.size.split("x"))
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                           {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})
    driver.get(arguments.url)
    deadline = time.monotonic() + DEADLINE
    while True:
        body = driver.find_element(By.TAG_NAME, "body").text
        missing = [text for text in arguments.text if not re.search(text, body)]
        missing += [path for path in arguments.has if not driver.find_elements(By.XPATH, path)]
        if driver.execute_script("return document.documentElement.scrollWidth > innerWidth"):
            missing.append("all of it within its width")
        if not missing or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    driver.save_screenshot(arguments.picture)
finally:
    driver.quit()
if missing:
    sys.exit(f"{arguments.url} does not have {missing}, but:\n{body}")
print(body)
