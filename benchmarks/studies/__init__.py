"""Our own studies: each a script that measures one question of this project into a results file.

`birefnet bench` is the instrument for everybody; what else docs/ and README quote comes from here.
"""
