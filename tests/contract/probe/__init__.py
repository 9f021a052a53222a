"""A plugin on the released SDK that makes every host call and checks the answers."""
