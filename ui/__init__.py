"""What stands between the pages and the package.

widgets    for every page
photos     pictures in, results out: the shared model and a session's memory
results    the controls of the prediction page, and its results on the screen
"""
