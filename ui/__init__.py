"""What stands between the pages and the package.

widgets       for every page
state         choices that go with the visitor from page to page and stand in the address
session       the photos a visitor gave, for as long as the session lasts
models        the choice of a model
photos        pictures in, results out: the shared model and what is remembered of results
results       the controls of the prediction page, and its results on the screen
explanations  the parts of the page that explains one answer
training      the parts of the page of training curves
compare       the tables and charts of the page of all models
side_by_side  all models' answers for one face
cards         a model's card in words for people
"""
